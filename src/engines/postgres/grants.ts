import pg from "pg";

const mostNameBytes = 63;

/** SQL that makes a role with just enough rights to watch and to signal; runs as it is on 12 to 18, by a superuser. */
export function grants(role: string): string {
  const name = quoteName(role);
  const reserved = `begin
  -- From 16 on: a slot is left when all others are taken (set reserved_connections to 3 or more).
  if pg_catalog.current_setting('server_version_num')::int >= 160000 then
    execute pg_catalog.format('grant pg_use_reserved_connections to %I', ${pg.escapeLiteral(role).trim()});
  end if;
end`;
  const tag = dollarTag(reserved);
  return `-- A role for Lockwarden that can see and signal, and read or write nobody's tables.
-- Give it a password afterwards (psql: \\password), or let pg_hba.conf identify it otherwise.
create role ${name} login nosuperuser nocreatedb nocreaterole noreplication inherit connection limit 10;
alter role ${name} set search_path = pg_catalog;
-- Sees state, age and statement of other roles' sessions.
grant pg_read_all_stats to ${name};
-- May cancel and terminate sessions of roles that are no superusers.
grant pg_signal_backend to ${name};
do ${tag}
${reserved}
${tag};
-- Where PUBLIC may not connect, Lockwarden needs CONNECT on leader_database and on every database whose tables
-- it is to call by name: grant connect on database … to this role. lockwarden check names them.
-- Only for rules with rollback-prepared: prepared transactions can be ended by members of their owner's role (which then may
-- do all that the owner may): grant the owner's role to this one.
`;
}

/** "name", whatever is in it. */
export function quoteName(name: string): string {
  const bytes = Buffer.byteLength(name);
  if (bytes >= 1 && bytes <= mostNameBytes && !name.includes("\0")) return pg.escapeIdentifier(name);
  throw new Error(
    `role: expected a name of 1 to ${mostNameBytes} bytes without a zero byte, got ${bytes} bytes; the server would cut it off`,
  );
}

/** $lockwarden$, or a variation of it that does not occur in the text. */
function dollarTag(text: string): string {
  for (let tag = "lockwarden"; ; tag += "_") {
    if (!text.includes(`$${tag}$`)) return `$${tag}$`;
  }
}
