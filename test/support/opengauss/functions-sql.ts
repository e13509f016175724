import type { Version } from "./versions.ts";

// version() and its like, and the functions that signal, with the truth table, texts and warnings that misc.cpp and
// threadpool_sessctl.cpp have and that a live server showed. What they did is told to the server's log for the double to
// read: a read-only transaction could not write it anywhere else.

const who = `
create function gauss.pg_backend_pid() returns int8 language sql stable security definer as $$
  select coalesce((select s.pid from gauss.seats() as s where s.backend = pg_catalog.pg_backend_pid()),
                  139800000000000 + pg_catalog.pg_backend_pid()) $$;
create function gauss.pg_current_sessid() returns int8 language sql stable security definer as $$
  select coalesce((select s.sessionid from gauss.seats() as s where s.backend = pg_catalog.pg_backend_pid()),
                  139800000000000 + pg_catalog.pg_backend_pid()) $$;
create function gauss.pg_current_sessionid() returns text language sql stable security definer as $$
  select extract(epoch from pg_postmaster_start_time())::int8 || '.' || gauss.pg_backend_pid() $$;
create function gauss.unnest(anyarray) returns setof anyelement language sql immutable as 'select pg_catalog.unnest($1)';
create function gauss.version() returns text language sql volatile security definer as $$ select gauss.front() ->> 'version' $$;`;

const permission = `
create function gauss.require_signal(target gauss.target, words text) returns void language plpgsql security definer as $$
  declare me record;
  begin
    if pg_catalog.current_setting('gauss.enable_online_ddl_waitlock') = 'on' then
      raise exception using errcode = '42501', message = 'kill backend is prohibited during online expansion.';
    end if;
    select * into me from gauss.me();
    if me.sysadmin or target.usesysid = me.oid
       or exists (select from pg_database as d where d.oid = target.datid and d.datdba = me.oid)
       or pg_has_role(me.oid, 'gs_role_signal_backend', 'member') and target.usesysid <> 10
          and not (gauss.front() -> 'persistence')::jsonb @> to_jsonb(target.usename::text) then
      return;
    end if;
    raise exception using errcode = '42501', message = words;
  end $$;
create function gauss.tell(called text, thread int8, session int8, target gauss.target) returns void language plpgsql as $$
  begin
    raise log 'opengauss-double %', json_build_object('called', called, 'thread', thread::text, 'session', session::text,
      'user', target.usename, 'application', target.application_name, 'sessionId', target.sessionid::text, 'by', session_user);
  end $$;`;

const terminateText =
  "must have sysadmin privilege or a member of the gs_role_signal_backend role or the owner of the database " +
  "or the same user to terminate other backend";
const cancelText = terminateText.replace("terminate other backend", "cancel queries running in other server processes");
const cancelSessionText =
  "must be system admin or have the same role to cancel queries running in other server processes";

/**
 * By thread: whoever sits on it now. An ordinary user is refused for a thread that is not there, and for one of the pool that
 * nobody sits on; for an administrator that one takes the signal and does nothing.
 */
function byThread(verb: "cancel" | "terminate"): string {
  return `
create function gauss.${verb}_thread(called text, thread int8, words text) returns bool language plpgsql security definer as $$
  declare target gauss.target;
  begin
    select t.backend, t.datid, t.usesysid, t.usename, t.application_name, t.sessionid, t.pid into target
      from gauss.threads() as t where t.pid = thread and t.pid <> 0;
    if target.sessionid is null then
      if not (select m.sysadmin from gauss.me() as m) then
        if (gauss.front() -> 'idleWorkers')::jsonb @> to_jsonb(thread) then
          raise exception using errcode = '3D000', message = 'database with OID 0 does not exist';
        end if;
        raise exception using errcode = '42501', message = words;
      end if;
      if (gauss.front() -> 'idleWorkers')::jsonb @> to_jsonb(thread) then return true; end if;
      raise warning 'PID % is not a gaussdb server thread', thread;
      return false;
    end if;
    perform gauss.require_signal(target, words);
    perform gauss.tell(called, thread, null, target);
    if target.backend is not null then perform pg_catalog.pg_${verb}_backend(target.backend); end if;
    return true;
  end $$;
create function gauss.pg_${verb}_backend(int8) returns bool language sql strict as
  $$ select gauss.${verb}_thread('pg_${verb}_backend', $1, '${verb === "cancel" ? cancelText : terminateText}') $$;`;
}

/** By session, where the two numbers differ and the pool is on; the thread is not looked at. */
function bySession(verb: "cancel" | "terminate", threadPool: boolean): string {
  const words = verb === "cancel" && !threadPool ? cancelSessionText : terminateText;
  return `
create function gauss.pg_${verb}_session(thread int8, session int8) returns bool language plpgsql strict security definer as $$
  declare target gauss.target;
  begin
    if thread = session then return gauss.${verb}_thread('pg_${verb}_session', thread, '${words}'); end if;
    if not ${threadPool} then return false; end if;
    select t.backend, t.datid, t.usesysid, t.usename, t.application_name, t.sessionid, t.pid into target
      from gauss.threads() as t where t.sessionid = session and t.backend is not null;
    if target.sessionid is null then
      raise warning 'Invalid session control index -1, maxReserveSessionCount 165, m_maxActiveSessionCount 454';
      return false;
    end if;
    perform gauss.require_signal(target, '${words}');
    perform gauss.tell('pg_${verb}_session', thread, session, target);
    ${verb === "cancel" ? "if target.pid = 0 then return false; end if;" : ""}
    perform pg_catalog.pg_${verb}_backend(target.backend);
    return true;
  end $$;`;
}

export function functionsSql(version: Version, threadPool: boolean): string {
  const targetType = `
create type gauss.target as (backend int, datid oid, usesysid oid, usename name, application_name text, sessionid int8, pid int8);`;
  const newer =
    version.openGauss === null
      ? ""
      : `
create function gauss.opengauss_version() returns text language sql as $$ select '${version.openGauss}'::text $$;
create function gauss.working_version_num() returns int language sql as $$ select ${version.workingVersion} $$;
create function gauss.gs_deployment() returns text language sql as $$ select '${version.deployment}'::text $$;`;
  const has = (name: string) => !version.missing.includes(name);
  return [
    who,
    newer,
    targetType,
    permission,
    byThread("cancel"),
    byThread("terminate"),
    has("pg_cancel_session") ? bySession("cancel", threadPool) : "",
    has("pg_terminate_session") ? bySession("terminate", threadPool) : "",
  ].join("\n");
}
