import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { chmod, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { keepFolder, startPostgres } from "../../src/demo/embedded-postgres.ts";
import { client, majors } from "../support/servers.ts";
import { tempFolder } from "../support/temp-folder.ts";

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

  test(`an embedded PostgreSQL ${major} with a password lets nobody in without it, over the socket neither`, async () => {
    const postgres = await startPostgres({ major, password: "s3cret" });
    try {
      const person = await client(postgres.url());
      const { rows } = await person.query<{ method: string }>(
        "select distinct auth_method as method from pg_hba_file_rules",
      );
      assert.deepEqual(rows, [{ method: "scram-sha-256" }]);
      await person.end();
      const wrong = postgres.url().replace("s3cret", "wrong");
      await assert.rejects(client(wrong), /password authentication failed/);
      await assert.rejects(client(wrong, { host: postgres.folder }), /password authentication failed/);
      assert.equal(existsSync(`${postgres.folder}/superuser.password`), false);
    } finally {
      await postgres.stop();
    }
  });
}

test("servers that are copied from what is kept share nothing else, though two of them wanted it at the same time", async (t) => {
  const kept = await keepFolder();
  t.after(() => rm(kept, { recursive: true }));
  const both = await Promise.all([startPostgres({ kept }), startPostgres({ kept })]);
  try {
    const [one, other] = await Promise.all(both.map((server) => client(server.url())));
    assert.ok(one !== undefined && other !== undefined);
    await one.query("create table mine ()");
    await assert.rejects(other.query("table mine"), /does not exist/);
    await Promise.all([one.end(), other.end()]);
  } finally {
    await Promise.all(both.map((server) => server.stop()));
  }
  const [model = "", ...others] = await readdir(kept);
  assert.deepEqual(others, []);
  assert.equal(existsSync(join(kept, model, "data", "PG_VERSION")), true);
});

const isRoot = process.getuid?.() === 0;

test("run by root, it starts elsewhere when root's folder for temporary files is closed to others", {
  skip: isRoot ? false : "only root has a folder that is closed to the user whom the server runs as",
}, async (t) => {
  const closed = await tempFolder(t);
  await chmod(closed, 0o700);
  const before = process.env["TMPDIR"];
  process.env["TMPDIR"] = closed;
  try {
    const postgres = await startPostgres();
    await postgres.stop();
    assert.ok(!postgres.folder.startsWith(closed));
  } finally {
    if (before === undefined) delete process.env["TMPDIR"];
    else process.env["TMPDIR"] = before;
  }
});
