import { plainName } from "./login.ts";
import { tokenize } from "./tokens.ts";
import type { Mode } from "./world.ts";

export type Account = {
  readonly name: string;
  readonly tenant: string;
  password: string;
  createSession: boolean;
  alterSystem: boolean;
  /** SHOW PROCESS in Oracle mode, PROCESS in MySQL mode. */
  showProcess: boolean;
  super: boolean;
  /** SYS or root: may everything. */
  readonly administrator: boolean;
  /** The views of SYS or oceanbase that it may read, in lower case; `all` for any. */
  views: Set<string> | "all";
};

export type NewAccount = Readonly<{
  name: string;
  password?: string;
  tenant?: string;
  alterSystem?: boolean;
  showProcess?: boolean;
  super?: boolean;
  administrator?: boolean;
  /** Default: all of them. */
  views?: readonly string[] | "all";
  createSession?: boolean;
}>;

export type Accounts = Readonly<{
  add(account: NewAccount, mode: Mode): Account;
  all(tenant: string): Account[];
  find(tenant: string, name: string): Account | undefined;
  remove(tenant: string, name: string): void;
}>;

export function accounts(tenant: string): Accounts {
  const known = new Map<string, Account>();
  const key = (of: string, name: string) => JSON.stringify([of, name]);
  return {
    add: (wanted, mode) => {
      const account: Account = {
        name: plainName(wanted.name, mode),
        tenant: wanted.tenant ?? tenant,
        password: wanted.password ?? "",
        createSession: wanted.createSession ?? true,
        alterSystem: wanted.alterSystem ?? false,
        showProcess: wanted.showProcess ?? false,
        super: wanted.super ?? false,
        administrator: wanted.administrator ?? false,
        views: wanted.views === undefined || wanted.views === "all" ? "all" : new Set(wanted.views.map(lower)),
      };
      known.set(key(account.tenant, account.name), account);
      return account;
    },
    all: (of) => [...known.values()].filter((account) => account.tenant === of),
    find: (of, name) => known.get(key(of, name)),
    remove: (of, name) => known.delete(key(of, name)),
  };
}

const lower = (name: string) => name.toLowerCase();

/** What CREATE USER, DROP USER, GRANT and REVOKE of a tenant's administrator do here. */
export type AccountChange =
  | { kind: "create"; name: string; password: string }
  | { kind: "drop"; name: string }
  | { kind: "grant" | "revoke"; name: string; privileges: readonly string[]; object: string | null };

/** Reads such a statement; null if it is none, or none that the double knows. */
export function readAccountChange(sql: string, mode: Mode): AccountChange | null {
  const tokens = tokenize(sql, mode);
  const words = tokens.map(({ kind, value }) => (kind === "word" ? value.toUpperCase() : value));
  const named = (at: number) => {
    const token = tokens[at];
    return token?.kind === "word" ? plainName(token.value, mode) : (token?.value ?? "");
  };
  const afterName = words[3] === "@" ? 5 : 3;
  if (words[0] === "CREATE" && words[1] === "USER") {
    const by = words.indexOf("BY", afterName);
    return { kind: "create", name: named(2), password: by === -1 ? "" : (tokens[by + 1]?.value ?? "") };
  }
  if (words[0] === "DROP" && words[1] === "USER") return { kind: "drop", name: named(2) };
  if (words[0] !== "GRANT" && words[0] !== "REVOKE") return null;
  const to = words.lastIndexOf(words[0] === "GRANT" ? "TO" : "FROM");
  const on = words.indexOf("ON");
  const privileges = words.slice(1, on === -1 || on > to ? to : on).join(" ");
  return {
    kind: words[0] === "GRANT" ? "grant" : "revoke",
    name: named(to + 1),
    privileges: privileges.split(/ ?, ?/),
    object: on === -1 || on > to ? null : words.slice(on + 1, to).join(""),
  };
}

/** Null, or the privilege that the double does not know. */
export function grant(account: Account, change: Extract<AccountChange, { kind: "grant" | "revoke" }>): string | null {
  const on = change.kind === "grant";
  for (const privilege of change.privileges) {
    switch (privilege) {
      case "CREATE SESSION":
        account.createSession = on;
        break;
      case "ALTER SYSTEM":
        account.alterSystem = on;
        break;
      case "SHOW PROCESS":
      case "PROCESS":
        account.showProcess = on;
        break;
      case "SUPER":
        account.super = on;
        break;
      case "EXECUTE":
        break;
      case "SELECT ANY DICTIONARY":
      case "SELECT_CATALOG_ROLE":
        account.views = on ? "all" : new Set();
        break;
      case "SELECT":
        grantView(account, change.object ?? "", on);
        break;
      default:
        return privilege;
    }
  }
  return null;
}

/** SYS.GV$OB_LOCKS, oceanbase.GV$OB_LOCKS or oceanbase.* */
function grantView(account: Account, object: string, on: boolean): void {
  const [schema = "", name = ""] = object.toLowerCase().split(".");
  if (!["sys", "oceanbase", "*"].includes(schema)) return;
  if (name === "*") account.views = on ? "all" : new Set();
  else if (account.views !== "all" && on) account.views.add(name);
  else if (account.views !== "all") account.views.delete(name);
}

/** The privileges by their names, as the dictionary views list them. */
export function privilegesOf(account: Account, mode: Mode): string[] {
  const names: [boolean, string][] =
    mode === "oracle"
      ? [
          [account.createSession, "CREATE SESSION"],
          [account.alterSystem, "ALTER SYSTEM"],
          [account.showProcess, "SHOW PROCESS"],
        ]
      : [
          [account.alterSystem, "ALTER SYSTEM"],
          [account.showProcess, "PROCESS"],
          [account.super, "SUPER"],
        ];
  return names.filter(([has]) => has || account.administrator).map(([, name]) => name);
}
