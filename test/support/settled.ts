import type pg from "pg";

/**
 * The same client, whose statements fail once the server is done with them and not before. `pg` rejects at the error
 * already, while the session still works: who then looks at it from another session may find it active.
 */
export function settled(client: pg.Client): pg.Client {
  const { connection } = client as unknown as { connection: NodeJS.EventEmitter };
  let rest = Promise.resolve();
  connection.on("errorMessage", () => {
    rest = new Promise((resolve) => {
      for (const event of ["readyForQuery", "end"]) connection.once(event, resolve);
    });
  });
  const query = client.query.bind(client) as (...what: readonly unknown[]) => unknown;
  const settledQuery = (...what: readonly unknown[]) => {
    const answer = query(...what);
    if (!(answer instanceof Promise)) return answer;
    return answer.catch(async (error: unknown) => {
      await rest;
      throw error;
    });
  };
  return Object.assign(client, { query: settledQuery });
}
