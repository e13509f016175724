import { absentFunctions, type Setting } from "./names.ts";
import type { Version } from "./versions.ts";

// openGauss' catalog as views over PostgreSQL's own. Who sits where comes out of a file that the front writes, so that a
// statement sees it as it was when the statement was sent.

/** Internal workers of a 7.0.0-RC2 without any client, as recorded. */
const internalWorkers: readonly (readonly [name: string, thread: number, state: "active" | "idle"])[] = [
  ["WLMArbiter", 139_941_325_539_008, "idle"],
  ["ApplyLauncher", 139_941_342_320_320, "idle"],
  ["CfsShrinker", 139_941_359_101_632, "idle"],
  ["PercentileJob", 139_941_375_882_944, "active"],
  ["Asp", 139_941_392_664_256, "active"],
  ["statement flush thread", 139_941_409_445_568, "idle"],
  ["workload", 139_941_426_226_880, "active"],
  ["WorkloadMonitor", 139_941_443_008_192, "idle"],
  ["JobScheduler", 139_941_459_789_504, "active"],
];

/** Threads of the server's own, of no database and no user: the view leaves them out. As recorded, the pool's two among them. */
const serverThreads: readonly (readonly [name: string, thread: number, state: "active" | "idle"])[] = [
  ["CheckPointer", 139_941_108_764_352, "idle"],
  ["PageWriter", 139_940_979_805_888, "idle"],
  ["InvalidBufferBgWriter", 139_940_996_587_200, "idle"],
  ["Wal Writer", 139_940_605_316_800, "active"],
  ["undo recycler", 139_940_716_087_488, "idle"],
];
const poolThreads: typeof serverThreads = [
  ["ThreadPoolListener", 139_940_871_794_880, "idle"],
  ["ThreadPoolScheduler", 139_940_334_923_968, "idle"],
];

const asValues = (rows: typeof serverThreads) =>
  `(values ${rows.map(([name, thread, state]) => `('${name}', ${thread}::int8, '${state}')`).join(", ")}) as w(name, thread, state)`;

/** A function of rows that becomes part of the statement that asks it: no more is worked out than is asked for. */
function rowsOf(name: string, columns: string, query: string): string {
  return `
create function ${name} returns table (${columns}) language sql stable rows 100 as $$ ${query} $$;`;
}

/** What PostgreSQL shows of everybody, whoever asks; the functions on it decide who may see what. */
const backendColumns = [
  "datid oid",
  "pid int",
  "usesysid oid",
  "application_name text",
  "state text",
  "query text",
  "wait_event_type text",
  "xact_start timestamptz",
  "query_start timestamptz",
  "backend_start timestamptz",
  "state_change timestamptz",
  "client_addr inet",
  "client_hostname text",
  "client_port int",
  "backend_type text",
];
const backendsSql = `
create function gauss.backends() returns table (${backendColumns.join(", ")}) language plpgsql stable security definer rows 100 as $$
  begin return query select ${backendColumns.map((column) => `a.${column.split(" ")[0]}`).join(", ")}
    from pg_catalog.pg_stat_get_activity(null) as a; end $$;`;

/** In the order in which the front writes them, a line each: JSON takes ten times as long to read. */
const seatTypes = { backend: "int", port: "int", pid: "int8", sessionid: "int8", client_port: "int" } as const;
type SeatColumn = keyof typeof seatTypes;
const seatColumns = Object.keys(seatTypes) as SeatColumn[];

/** Who sits where, as the front has written it; no more of it than is needed, as reading it is a good part of every answer. */
const seatsOf = (...wanted: readonly SeatColumn[]) => `
  file as materialized (select gauss.written() as text),
  seats as materialized (
    select u.* from (select string_to_array(f.text, E'\\n') as lines from file as f offset 0) as w,
           unnest(${wanted.map((column) => `w.lines[${seatColumns.indexOf(column) + 2}]::${seatTypes[column]}[]`).join(", ")})
             as u(${wanted.join(", ")}))`;

/** Who asks. */
const me = `
  me as materialized (
    select quote_ident(session_user)::regrole::oid as oid, current_setting('is_superuser')::bool as sysadmin,
           session_user::text = any (split_part(f.text, E'\\n', ${seatColumns.length + 2})::text[]) as monadmin
      from file as f)`;

/** What the front knows; `file` is where it writes that down. */
function frontSql(file: string): string {
  return `
create schema gauss;
grant usage on schema gauss to public;
create function gauss.written() returns text language plpgsql volatile security definer as $$
  declare written bytea;
  begin
    loop
      written := pg_catalog.pg_read_binary_file('${file}');
      -- It is written over in place: half of it may be of the time before, and then its ends differ.
      exit when substring(written, 1, 8) = substring(written, length(written) - 7);
    end loop;
    return convert_from(substring(written, 9, length(written) - 16), 'UTF8');
  end $$;
-- Written down, as a function of the server's reads no catalog, which somebody may have locked.
create table gauss.first_database as select d.oid, d.datname from pg_catalog.pg_database as d where d.datname = 'postgres';
create function gauss.front() returns json language plpgsql volatile security definer as $$
  begin return split_part(gauss.written(), E'\\n', 1)::json; end $$;
${backendsSql}
${rowsOf(
  "gauss.seats()",
  seatColumns.map((column) => `${column} ${seatTypes[column]}`).join(", "),
  `with ${seatsOf(...seatColumns)} select s.* from seats as s`,
)}
${rowsOf(
  "gauss.prepared()",
  "xid text, sessionid int8",
  `select x.transaction::text, coalesce(p.sessionid, 139700000000000)
    from pg_prepared_xact() as x left join json_to_recordset(gauss.front() -> 'prepared') as p(gid text, sessionid int8)
         on p.gid = x.gid`,
)}
${rowsOf("gauss.me()", "oid oid, sysadmin bool, monadmin bool", `with ${seatsOf("backend")}, ${me} select m.* from me as m`)}`;
}

type ThreadColumn = Readonly<{ type: string; ofSession: string; ofWorker?: string; ofServer?: string }>;

/**
 * What is known of every session and thread, without reading a catalog. A session that went past the front (through the
 * backend's own url) is one without a seat. One of a pool that never said anything shows no state yet.
 */
const threadColumns = {
  datid: {
    type: "oid",
    ofSession: "a.datid",
    ofWorker: "(select f.oid from gauss.first_database as f)",
    ofServer: "0::oid",
  },
  pid: {
    type: "int8",
    ofSession: "coalesce(s.pid, 139800000000000 + a.pid)",
    ofWorker: "w.thread",
    ofServer: "w.thread",
  },
  sessionid: {
    type: "int8",
    ofSession: "coalesce(s.sessionid, 139800000000000 + a.pid)",
    ofWorker: "w.thread",
    ofServer: "w.thread",
  },
  usesysid: { type: "oid", ofSession: "a.usesysid", ofWorker: "10::oid", ofServer: "0::oid" },
  application_name: { type: "text", ofSession: "a.application_name", ofWorker: "w.name", ofServer: "w.name" },
  state: {
    type: "text",
    ofSession: "case when not f.fresh then a.state end",
    ofWorker: "w.state",
    ofServer: "w.state",
  },
  query: {
    type: "text",
    ofSession: "case when not f.fresh then replace(a.query, 'gauss.', '') end",
    ofWorker: "case when w.name = 'workload' then 'WLM fetch collect info from data nodes' else '' end",
    ofServer: "''",
  },
  waiting: {
    type: "bool",
    ofSession: "coalesce(a.wait_event_type = 'Lock', false)",
    ofWorker: "false",
    ofServer: "false",
  },
  xact_start: {
    type: "timestamptz",
    ofSession: "a.xact_start",
    ofWorker: "case when w.name = 'workload' then pg_postmaster_start_time() end",
  },
  query_start: {
    type: "timestamptz",
    ofSession: "a.query_start",
    ofWorker: "case when w.name = 'workload' then pg_postmaster_start_time() end",
  },
  backend_start: {
    type: "timestamptz",
    ofSession: "a.backend_start",
    ofWorker: "pg_postmaster_start_time()",
    ofServer: "pg_postmaster_start_time()",
  },
  state_change: {
    type: "timestamptz",
    ofSession: "case when not f.fresh then a.state_change end",
    ofWorker: "pg_postmaster_start_time()",
    ofServer: "pg_postmaster_start_time()",
  },
  client_addr: { type: "inet", ofSession: "a.client_addr" },
  client_hostname: { type: "text", ofSession: "a.client_hostname" },
  client_port: { type: "int", ofSession: "coalesce(s.client_port, a.client_port)" },
  backend: { type: "int", ofSession: "a.pid" },
} satisfies Record<string, ThreadColumn>;

type ThreadName = keyof typeof threadColumns;
const typeOf = (column: ThreadName) => `${column} ${threadColumns[column].type}`;

/** Every session and thread as `t`, with these columns. */
function threads(threadPool: boolean, names: readonly ThreadName[]): string {
  const columns: readonly ThreadColumn[] = names.map((name) => threadColumns[name]);
  return `(
  select ${columns.map(({ ofSession }) => ofSession).join(", ")}
    from gauss.backends() as a left join seats as s on s.port = a.client_port
    cross join lateral (select coalesce(${threadPool} and s.pid = 0 and a.query = '', false) as fresh) as f
   where a.backend_type in ('client backend', 'walsender') and a.application_name <> 'opengauss-double' and s.sessionid is distinct from 0
  union all
  select ${columns.map(({ ofWorker = "null" }) => ofWorker).join(", ")} from ${asValues(internalWorkers)}
  union all
  select ${columns.map(({ ofServer = "null" }) => ofServer).join(", ")}
    from ${asValues([...serverThreads, ...(threadPool ? poolThreads : [])])}) as t(${names.join(", ")})`;
}

const targetNames = ["backend", "datid", "usesysid", "application_name", "sessionid", "pid"] as const;

/** For those who signal. */
const threadsSql = (threadPool: boolean) =>
  rowsOf(
    "gauss.threads()",
    `${targetNames.map(typeOf).join(", ")}, usename name`,
    `with ${seatsOf("port", "pid", "sessionid", "client_port")}
    select t.*, case when t.usesysid = 10 then 'omm'::name else pg_catalog.pg_get_userbyid(t.usesysid) end
      from ${threads(threadPool, targetNames)}`,
  );

const walSendersSql = `
create function gauss.pg_stat_get_wal_senders() returns table (pid int8) language sql stable rows 1 as $$
  select s.pid from pg_stat_get_wal_senders() as w cross join lateral (select * from gauss.seats() as s where s.backend = w.pid offset 0) as s $$;`;

const activityName = ({ missing }: Version) =>
  missing.includes("pg_stat_get_activity") ? "gauss.activity" : "gauss.pg_stat_get_activity";

/** As the server's function has them, in its order. */
const shownNames = (Object.keys(threadColumns) as ThreadName[]).filter((name) => name !== "backend");

/** Of whom one may not see, a row that says nothing but that. */
function activityOfAll(threadPool: boolean, version: Version): string {
  const more: readonly (readonly [type: string, value: string])[] = [
    ["enqueue text", "null::text"],
    ["query_id int8", "0::int8"],
    ...(version.lockTags ? ([["srespool name", "'default_pool'::name"]] as const) : []),
    ...(version.globalIds
      ? ([
          ["global_sessionid text", "'0:0#0'::text"],
          ["unique_sql_id int8", "0::int8"],
          ["trace_id text", "''::text"],
        ] as const)
      : []),
  ];
  const hidden = shownNames.map((name) => (name === "query" ? "'<insufficient privilege>'" : "null"));
  const all = "(select m.sysadmin or m.monadmin from me as m)";
  const own = "t.usesysid = (select m.oid from me as m)";
  return rowsOf(
    `${activityName(version)}(int8)`,
    [...shownNames.map(typeOf), ...more.map(([type]) => type)].join(", "),
    `with ${seatsOf("port", "pid", "sessionid", "client_port")}, ${me}
    select t.*, ${more.map(([, value]) => value).join(", ")} from ${threads(threadPool, shownNames)}
     where (${all} or ${own}) and ($1 is null or t.pid = $1)
    union all
    select ${[...hidden, ...more.map(() => "null")].join(", ")} from ${threads(threadPool, ["pid", "usesysid"])}
     where not ${all} and not ${own} and ($1 is null or t.pid = $1)`,
  );
}

const activityColumns =
  "a.datid, d.datname, a.pid, a.sessionid, a.usesysid, case when a.usesysid = 10 then 'omm'::name else u.rolname end as usename, " +
  "a.application_name, a.client_addr, a.client_hostname, a.client_port, a.backend_start, a.xact_start, a.query_start, " +
  "a.state_change, a.waiting, a.enqueue, a.state, 'default_pool'::name as resource_pool, a.query_id, a.query, ''::text as connection_info";

const lockTag =
  "gauss.lock_tag(l.locktype, l.database, l.relation, l.page, l.tuple, l.virtualxid, l.transactionid, l.classid, l.objid, l.objsubid)";

// Fields of a lock tag in hexadecimal, its type last; types as lock.h of openGauss numbers them.
const lockTagSql = `
create function gauss.lock_tag(locktype text, database oid, relation oid, page int, tuple int2, virtualxid text,
    transactionid xid, classid oid, objid oid, objsubid int2) returns text language sql stable as $$
  select case locktype
    when 'relation' then format('%s:%s:0:0:0:0', to_hex(database::int8), to_hex(relation::int8))
    when 'extend' then format('%s:%s:0:0:0:1', to_hex(database::int8), to_hex(relation::int8))
    when 'page' then format('%s:%s:%s:0:0:4', to_hex(database::int8), to_hex(relation::int8), to_hex(page))
    when 'tuple' then format('%s:%s:%s:%s:0:5', to_hex(database::int8), to_hex(relation::int8), to_hex(page), to_hex(tuple::int))
    when 'transactionid' then format('%s:0:0:0:0:6', to_hex(transactionid::text::int8))
    when 'virtualxid' then format('%s:%s:0:0:0:7', to_hex(split_part(virtualxid, '/', 1)::int8), to_hex(split_part(virtualxid, '/', 2)::int8))
    when 'advisory' then format('%s:%s:%s:%s:0:b', to_hex(database::int8), to_hex(classid::int8), to_hex(objid::int8), to_hex(objsubid::int))
    else format('%s:%s:%s:%s:0:8', to_hex(database::int8), to_hex(classid::int8), to_hex(objid::int8), to_hex(objsubid::int)) end $$;
${rowsOf(
  "gauss.lock_rows()",
  `locktype text, database oid, relation oid, page int, tuple int2, bucket int, virtualxid text, transactionid xid,
    classid oid, objid oid, objsubid int2, virtualtransaction text, pid int8, sessionid int8, mode text, granted bool,
    fastpath bool, global_sessionid text, backend int`,
  `
  with ${seatsOf("backend", "pid", "sessionid")},
  rows as materialized (select * from pg_lock_status()),
  -- The server tells of a prepared transaction by the virtual one that it was; openGauss by its own id.
  owners as (select r.virtualtransaction, p.xid, p.sessionid from rows as r
              cross join lateral (select * from gauss.prepared() as p where p.xid = r.transactionid::text offset 0) as p
              where r.pid is null and r.locktype = 'transactionid' and r.granted)
  select l.locktype, l.database, l.relation, l.page, l.tuple, 0, l.virtualxid, l.transactionid, l.classid, l.objid,
         l.objsubid, coalesce('-1/' || p.xid, l.virtualtransaction), coalesce(s.pid, o.id), coalesce(s.sessionid, o.id, p.sessionid),
         l.mode, l.granted, l.fastpath, '0:0#0'::text, l.pid
    from rows as l
    left join seats as s on s.backend = l.pid and s.backend <> 0
    left join owners as p on l.pid is null and p.virtualtransaction = l.virtualtransaction
    -- Whoever went past the front.
    cross join lateral (select case when s.backend is null and l.pid is not null then (
      select 139800000000000 + a.pid from pg_stat_get_activity(l.pid) as a
       where a.backend_type = 'client backend' and a.application_name <> 'opengauss-double') end as id offset 0) as o
   where coalesce(s.sessionid, o.id, p.sessionid) is not null`,
)}`;

const locksColumns =
  "locktype, database, relation, page, tuple, bucket, virtualxid, transactionid, classid, objid, objsubid, " +
  "virtualtransaction, pid, sessionid, mode, granted, fastpath";

// One blocker, as on openGauss: the first holder, or whoever is ahead in the queue; of a prepared transaction the session
// that prepared it.
const waitsSql = (threadPool: boolean) => `
create function gauss.prepared_blocker(tag text) returns int8 language sql stable security definer as $$
  select sessionid from gauss.lock_rows() as l where granted and pid is null and ${lockTag} = tag order by 1 limit 1 $$;
${rowsOf(
  "gauss.waits()",
  `node_name text, db_name text, thread_name text, query_id int8, tid int8, sessionid int8, lwtid int, psessionid int8,
    tlevel int, smpid int, wait_status text, wait_event text, locktag text, lockmode text, block_sessionid int8,
    global_sessionid text`,
  `
  with ${seatsOf("backend", "port", "pid", "sessionid")}, ${me},
  waiting as materialized (
    select l.pid as backend, l.locktype, l.mode, (pg_blocking_pids(l.pid))[1] as blocker,
           ${lockTag} as locktag
      from pg_lock_status() as l where not l.granted)
  select 'dn1'::text, d.datname::text, t.application_name, case when m.sees then 0::int8 end, t.pid, t.sessionid,
         coalesce(t.backend, 0), null::int8, 0, 0,
         case when m.sees then case when l.locktype is not null then 'acquire lock' when t.state = 'active' then 'none' else 'wait cmd' end end,
         case when m.sees then coalesce(l.locktype, case when t.state = 'active' then 'none' else 'wait cmd' end) end,
         case when m.sees then l.locktag end, case when m.sees then l.mode end,
         case when m.sees and l.blocker = 0 then gauss.prepared_blocker(l.locktag)
              when m.sees and l.blocker is not null then
                coalesce((select s.sessionid from seats as s where s.backend = l.blocker), 139800000000000 + l.blocker) end,
         '0:0#0'::text
    from ${threads(threadPool, ["datid", "application_name", "pid", "sessionid", "usesysid", "state", "backend"])}
    left join waiting as l on l.backend = t.backend
    left join pg_catalog.pg_database as d on d.oid = t.datid
    cross join lateral (
      select (select m.sysadmin or m.monadmin from me as m) or t.usesysid = (select m.oid from me as m) as sees) as m`,
)}`;

const waitsColumns =
  "node_name, db_name, thread_name, query_id, tid, sessionid, lwtid, psessionid, tlevel, smpid, wait_status, wait_event";

function viewsSql(version: Version, compatibility: string): string {
  const activity = version.globalIds ? `${activityColumns}, a.unique_sql_id, a.trace_id` : activityColumns;
  const tags = version.lockTags ? `, ${lockTag} as locktag` : "";
  const ids = version.globalIds ? ", global_sessionid" : "";
  const waitTags = version.lockTags ? ", locktag, lockmode, block_sessionid" : "";
  return `
create view gauss.pg_stat_activity as
  select ${activity} from ${activityName(version)}(null) as a
    join pg_catalog.pg_database as d on d.oid = a.datid join pg_catalog.pg_authid as u on u.oid = a.usesysid;
create view gauss.pg_locks as select ${locksColumns}${tags}${ids} from gauss.lock_rows() as l;
create view gauss.pg_thread_wait_status as select ${waitsColumns}${waitTags}${ids} from gauss.waits();
create view gauss.pg_roles as
  select case when r.oid = 10 then 'omm' else r.rolname end as rolname, r.oid = 10 as rolsuper, r.rolinherit, r.rolcreaterole,
         r.rolcreatedb, r.rolcanlogin, r.rolreplication, r.rolsuper as rolsystemadmin, r.rolconnlimit, r.rolconfig, r.oid,
         r.rolname::text = any (split_part(gauss.written(), E'\\n', ${seatColumns.length + 2})::text[]) as rolmonitoradmin
    from pg_catalog.pg_roles as r, gauss.me() as m
   where r.rolname !~ '^pg_' and (m.sysadmin or r.rolname = current_user
     or (select o.rolcreaterole from pg_catalog.pg_roles as o where o.rolname = current_user));
create function gauss.pg_get_userbyid(oid) returns name language plpgsql stable as $$
  begin return (select r.rolname from gauss.pg_roles as r where r.oid = $1); end $$;
create view gauss.pg_database as
  select d.oid, d.datname, d.datdba, d.encoding, d.datcollate, d.datctype, d.datistemplate, d.datallowconn, d.datconnlimit,
         d.dattablespace, '${compatibility}'::name as datcompatibility, d.datacl from pg_catalog.pg_database as d;
create view gauss.pg_namespace as select n.oid, n.nspname, n.nspowner, n.nspacl from pg_catalog.pg_namespace as n where n.nspname <> 'gauss';
create view gauss.pg_class as
  select c.oid, c.relname, c.relnamespace, c.reltype, c.reloftype, c.relowner, c.relam, c.relfilenode, c.reltablespace,
         c.relpages, c.reltuples, c.reltoastrelid, c.relhasindex, c.relisshared, c.relpersistence, c.relkind, c.relnatts,
         c.relchecks, c.relhasrules, c.relhastriggers, c.relhassubclass, c.relacl, c.reloptions, 'n'::"char" as parttype
    from pg_catalog.pg_class as c where c.relnamespace <> 'gauss'::regnamespace;
create view gauss.pg_proc as
  select p.oid, p.proname, 'pg_catalog'::regnamespace::oid as pronamespace, p.proowner, p.prolang, p.prorettype, p.pronargs,
         p.proargtypes, p.proretset, p.provolatile, p.prosecdef, p.proacl
    from pg_catalog.pg_proc as p where p.pronamespace = 'gauss'::regnamespace
  union all
  select p.oid, p.proname, p.pronamespace, p.proowner, p.prolang, p.prorettype, p.pronargs,
         p.proargtypes, p.proretset, p.provolatile, p.prosecdef, p.proacl
    from pg_catalog.pg_proc as p where p.pronamespace <> 'gauss'::regnamespace
     and not p.proname in (${[...absentFunctions].map((name) => `'${name}'`).join(", ")})
     and not exists (select from pg_catalog.pg_proc as o where o.proname = p.proname and o.pronamespace = 'gauss'::regnamespace);
grant select on all tables in schema gauss to public;`;
}

function settingsSql(settings: Readonly<Record<string, Setting>>, hidden: readonly string[]): string {
  const rows = Object.entries(settings).map(
    ([name, { value, unit, context }]) =>
      `('${name}', '${value}', ${unit === null ? "null" : `'${unit}'`}, '${context}')`,
  );
  const names = Object.keys(settings).map((name) => `'${name}'`);
  return `
create view gauss.pg_settings as
  select name, setting, unit, category, short_desc, extra_desc, context, vartype, source, min_val, max_val, enumvals,
         boot_val, reset_val, sourcefile, sourceline
    from pg_catalog.pg_settings where name not in (${[...hidden.map((name) => `'${name}'`), ...names].join(", ")}) and name not like 'gauss.%'
  union all
  select o.name, pg_catalog.current_setting('gauss.' || o.name), o.unit, 'Customized Options', '', null, o.context, 'string',
         'default', null, null, null, o.value, o.value, null, null
    from (values ${rows.join(", ")}) as o(name, value, unit, context);
create function gauss.setting_name(text) returns text language plpgsql stable as $$
  begin
    if lower($1) in (${hidden.map((name) => `'${name}'`).join(", ")}) then
      raise exception using errcode = '42704', message = format('unrecognized configuration parameter "%s"', $1);
    end if;
    return case when lower($1) in (${names.join(", ")}) then 'gauss.' || lower($1) else $1 end;
  end $$;
create function gauss.current_setting(text) returns text language sql stable as
  'select pg_catalog.current_setting(gauss.setting_name($1))';
create function gauss.set_config(text, text, bool) returns text language sql volatile as
  'select pg_catalog.set_config(gauss.setting_name($1), $2, $3)';
grant select on gauss.pg_settings to public;`;
}

export type Catalog = Readonly<{
  /** Absolute path that the server can read. */
  file: string;
  version: Version;
  compatibility: string;
  settings: Readonly<Record<string, Setting>>;
  unknownSettings: readonly string[];
}>;

export function catalogSql(catalog: Catalog): string {
  const threadPool = catalog.settings["enable_thread_pool"]?.value === "on";
  return [
    frontSql(catalog.file),
    threadsSql(threadPool),
    activityOfAll(threadPool, catalog.version),
    walSendersSql,
    lockTagSql,
    waitsSql(threadPool),
    viewsSql(catalog.version, catalog.compatibility),
    settingsSql(catalog.settings, catalog.unknownSettings),
  ].join("\n");
}
