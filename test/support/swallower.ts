import type pg from "pg";
import { type LoginService, pidOf } from "./login-service.ts";

/** A transaction that holds a row, runs one statement for ever, and takes no cancel for an answer. */
export type Swallower = Readonly<{ pid: string; person: pg.Client; ended: Promise<void> }>;

const deaf =
  "do $$ begin loop begin perform pg_sleep(600); exception when query_canceled then null; end; end loop; end $$";

export async function swallower(service: LoginService, application: string, id: number): Promise<Swallower> {
  const person = await service.person(application);
  const pid = String(await pidOf(person));
  await person.query("begin");
  await person.query("update public.user_session set seen = now() where id = $1", [id]);
  const ended = person.query(deaf).then(
    () => undefined,
    () => undefined,
  );
  return { pid, person, ended };
}
