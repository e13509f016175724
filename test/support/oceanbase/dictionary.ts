import { privilegesOf } from "./accounts.ts";
import { named, type Row, type Scope, stamp, type View } from "./view.ts";

/** What the asking user may do, by the names of the dictionary. */
function held({ session, world }: Scope): string[] {
  const account = world.accounts.find(session.tenant, session.user);
  return account === undefined ? [] : privilegesOf(account, session.mode);
}

const systemPrivileges =
  (owner: "USERNAME" | "GRANTEE") =>
  (scope: Scope): View => ({
    columns: named(`${owner} PRIVILEGE ADMIN_OPTION`),
    rows: held(scope).map((one) => ({ [owner]: scope.session.user, PRIVILEGE: one, ADMIN_OPTION: "NO" })),
  });

function users(list: string, row: (name: string) => Row): (scope: Scope) => View {
  return ({ session, world }) => ({
    columns: named(list),
    rows: world.accounts.all(session.tenant).map(({ name }) => row(name)),
  });
}

function tenants({ session, world }: Scope): View {
  const row = (id: number, name: string): Row => ({
    TENANT_ID: id,
    TENANT_NAME: name,
    TENANT_TYPE: id === 1 ? "SYS" : "USER",
    TENANT_ROLE: world.switches.tenantRole,
    COMPATIBILITY_MODE: id === 1 ? "MYSQL" : world.mode.toUpperCase(),
    STATUS: "NORMAL",
    CREATE_TIME: stamp(0),
  });
  const own = row(1002, world.tenant);
  return {
    columns: named(
      "TENANT_ID:int8 TENANT_NAME TENANT_TYPE CREATE_TIME:timestamp COMPATIBILITY_MODE STATUS TENANT_ROLE",
    ),
    rows: session.tenant === "sys" ? [row(1, "sys"), own] : [own],
  };
}

/** The views of MySQL's InnoDB are there, and dummies: one row of a transaction 0 that has always just begun. */
const dummies: Readonly<Record<string, (scope: Scope) => View>> = {
  innodb_trx: () => ({
    columns: named("trx_id trx_state trx_started:timestamp trx_mysql_thread_id:int8"),
    rows: [{ trx_id: "0", trx_state: "", trx_started: stamp(Date.now()), trx_mysql_thread_id: 0 }],
  }),
  innodb_locks: () => ({
    columns: named("lock_id lock_trx_id lock_mode lock_type lock_table"),
    rows: [{ lock_id: "0", lock_trx_id: "0", lock_mode: "", lock_type: "", lock_table: "" }],
  }),
  innodb_lock_waits: () => ({
    columns: named("requesting_trx_id requested_lock_id blocking_trx_id blocking_lock_id"),
    rows: [{ requesting_trx_id: "0", requested_lock_id: "0", blocking_trx_id: "0", blocking_lock_id: "0" }],
  }),
};

/** Everybody may read them. */
export const oracleDictionary: Readonly<Record<string, (scope: Scope) => View>> = {
  session_privs: (scope) => ({
    columns: named("PRIVILEGE"),
    rows: held(scope).map((one) => ({ PRIVILEGE: one })),
  }),
  user_sys_privs: systemPrivileges("USERNAME"),
  role_sys_privs: () => ({ columns: named("ROLE PRIVILEGE ADMIN_OPTION"), rows: [] }),
  all_users: users("USERNAME USERID:int8 CREATED:timestamp", (name) => ({ USERNAME: name, CREATED: stamp(0) })),
};

export const mysqlDictionary: Readonly<Record<string, (scope: Scope) => View>> = {
  ...dummies,
  user_privileges: (scope) => ({
    columns: named("GRANTEE TABLE_CATALOG PRIVILEGE_TYPE IS_GRANTABLE"),
    rows: held(scope).map((one) => ({
      GRANTEE: `'${scope.session.user}'@'%'`,
      TABLE_CATALOG: "def",
      PRIVILEGE_TYPE: one,
    })),
  }),
  schemata: ({ locks }) => ({
    columns: named("CATALOG_NAME SCHEMA_NAME DEFAULT_CHARACTER_SET_NAME"),
    rows: locks.schemas.map((name) => ({
      CATALOG_NAME: "def",
      SCHEMA_NAME: name,
      DEFAULT_CHARACTER_SET_NAME: "utf8mb4",
    })),
  }),
};

/** Those who have been granted them. */
export const oracleGuarded: Readonly<Record<string, (scope: Scope) => View>> = {
  dba_sys_privs: systemPrivileges("GRANTEE"),
  dba_ob_tenants: tenants,
};

export const mysqlGuarded: Readonly<Record<string, (scope: Scope) => View>> = {
  user: users("host user", (name) => ({ host: "%", user: name })),
  dba_ob_tenants: tenants,
};
