import { quoteName } from "../postgres/grants.ts";

/** SQL that makes a role with just enough rights to watch and to signal; to be run by a system administrator. */
export function grants(role: string): string {
  const name = quoteName(role);
  return `-- A user for Lockwarden that can see and signal, and read or write nobody's tables.
-- MONADMIN: sees state, age and statement of other users' sessions; without it they are missing from pg_stat_activity.
-- Write a password of your own for the dots; the server refuses this one. Lockwarden reads it from password_file.
create user ${name} monadmin connection limit 10 password '...';
-- May cancel and terminate sessions of others, but not of the initial user.
grant gs_role_signal_backend to ${name};
-- pg_hba.conf wants a line for it, by sha256, with the address from which Lockwarden connects:
--   host all ${name} ADDRESS/32 sha256
-- Where PUBLIC may not connect, it needs CONNECT on leader_database and on every database whose tables
-- it is to call by name: grant connect on database … to ${name}. lockwarden check names them.
-- Rules with rollback-prepared: a prepared transaction is ended only by the user who prepared it or a system administrator.
`;
}
