import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { startPostgres } from "../../src/demo/embedded-postgres.ts";
import { client, majors } from "../support/servers.ts";

for (const major of majors()) {
  test(`an embedded PostgreSQL ${major} starts, restarts on its port, and leaves nothing behind`, async () => {
    const postgres = await startPostgres({ major });
    try {
      await postgres.restart("immediate");
      const person = await client(postgres.url());
      const { rows } = await person.query<{ major: string }>(
        "select current_setting('server_version_num')::int / 10000 as major",
      );
      assert.equal(Number(rows[0]?.major), major);
      await person.end();
    } finally {
      await postgres.stop();
    }
    assert.equal(existsSync(postgres.folder), false);
  });
}
