import assert from "node:assert/strict";
import { chmod, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import type pg from "pg";
import { front } from "../support/front.ts";
import { place } from "../support/lockwarden.ts";
import { loginService, pidOf } from "../support/login-service.ts";
import { survive, watched } from "../support/outage.ts";
import { client, eventually } from "../support/servers.ts";

// A database that is away in every way that has been seen; one server for the file, a daemon for each test.

const service = await loginService();
const crowded = await loginService({ settings: { max_connections: "10", reserved_connections: "2" } });
const { postgres } = service;
const hba = join(postgres.dataFolder, "pg_hba.conf");
const trusting = await readFile(hba, "utf8");

const rules = `mode: enforce
rules: [{name: stuck-login, match: {idle_for: 30s, blocks: {waiters: 1}}, steps: [terminate]}]`;

function config(url: string, more = ""): string {
  return `${rules}\ntargets: [{name: app, url: "${url}", poll: 200ms, connect_timeout: 1s, statement_timeout: 1s${more}}]`;
}

/** A superuser's connection, as the one of the service may have been lost. */
async function asAdmin<T>(ask: (admin: pg.Client) => Promise<T>): Promise<T> {
  const admin = await client(postgres.url());
  try {
    return await ask(admin);
  } finally {
    await admin.end();
  }
}

const cut = "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'lockwarden'";

/** New rules for whoever connects from now on; the daemon has to. */
async function admit(lines: string): Promise<void> {
  await writeFile(hba, `${lines}\n${trusting}`);
  await asAdmin(async (admin) => {
    await admin.query("select pg_reload_conf()");
    await eventually(async () => {
      const { rows } = await admin.query<{ now: string }>("select pg_read_file('pg_hba.conf') as now");
      return rows[0]?.now.startsWith(lines);
    });
    await admin.query(cut);
  });
}

test("a server that is restarted, that crashes, and one whose process is killed", async () => {
  const here = await place(config(service.url));
  const one = await watched(here);
  const down = /was lost|ECONNREFUSED|starting up|not yet accepting/;
  for (const how of ["fast", "immediate"] as const) {
    let restarted: Promise<void> = Promise.resolve();
    await survive(one, {
      begin: () => {
        restarted = postgres.restart(how);
      },
      says: down,
      end: () => restarted,
    });
  }
  const person = await service.person("unlucky");
  await survive(one, {
    begin: async () => process.kill(await pidOf(person), "SIGKILL"),
    says: down,
    end: () => undefined,
  });
});

test("pg_hba.conf refuses it, and lets it in again", async () => {
  const one = await watched(await place(config(service.url)));
  await survive(one, {
    begin: () => admit("host all lockwarden all reject"),
    says: /pg_hba\.conf rejects connection .*check that the role exists/,
    end: () => admit("host all nobody all reject"),
  });
});

test("a password that is changed at the server is wrong until password_file has the new one, which is read at every try", async () => {
  const here = await place("");
  const file = join(here.folder, "password");
  await writeFile(file, "old\n");
  await chmod(file, 0o600);
  await asAdmin((admin) => admin.query("alter role lockwarden password 'old'"));
  await admit("host all lockwarden all scram-sha-256");
  await here.write(config(service.url, `, password_file: ${file}`));
  const one = await watched(here);
  await survive(one, {
    begin: () =>
      asAdmin(async (admin) => {
        await admin.query("alter role lockwarden password 'new'");
        await admin.query(cut);
      }),
    says: /password authentication failed .*check password_file/,
    end: () => writeFile(file, "new\n"),
  });
  await admit("host all nobody all reject");
});

test("a network that swallows packets, a port that takes connections and says nothing, one that is no PostgreSQL, one that hangs up", async () => {
  const between = await front(postgres.port);
  const one = await watched(await place(config(`postgres://lockwarden@127.0.0.1:${between.port}/app`)));
  const silent = {
    begin: () => between.behave("swallow"),
    says: /is silent: no answer in/,
    end: () => between.behave("pass"),
  };
  await survive(one, silent);
  const mute = async () => {
    between.behave("swallow");
    await asAdmin((admin) => admin.query(cut));
  };
  await survive(one, { begin: mute, says: /no answer within 1000 ms/, end: () => between.behave("pass") });
  await survive(one, {
    begin: () => between.behave("garbage"),
    says: /this is no PostgreSQL|something between speaks for it/,
    end: () => between.behave("pass"),
  });
  await survive(one, {
    begin: () => between.behave("hang up"),
    says: /Connection terminated unexpectedly|ECONNRESET/,
    end: () => between.behave("pass"),
  });
});

test("a host whose name is not known any more", async () => {
  const here = await place(config(service.url.replace("127.0.0.1", "db.lockwarden.test")));
  const hosts = join(here.folder, "known");
  const names = join(here.folder, "names.cjs");
  // The name service of that process: the name is known while the file is there.
  await writeFile(
    names,
    `const dns = require("dns"), fs = require("fs"), real = dns.lookup;
dns.lookup = (name, options, done) => {
  if (name !== "db.lockwarden.test") return real(name, options, done);
  if (fs.existsSync(${JSON.stringify(hosts)})) return real("127.0.0.1", options, done);
  process.nextTick(done, Object.assign(new Error("getaddrinfo ENOTFOUND " + name), { code: "ENOTFOUND" }));
};`,
  );
  await writeFile(hosts, "");
  const one = await watched(here, { NODE_OPTIONS: `--require ${names}` });
  await survive(one, {
    begin: async () => {
      await rm(hosts);
      await asAdmin((admin) => admin.query(cut));
    },
    says: /ENOTFOUND db\.lockwarden\.test; check the host's name and the name service/,
    end: () => writeFile(hosts, ""),
  });
});

/** Takes every slot that an ordinary role can have, and Lockwarden's own at the first moment that they are free. */
async function fill(): Promise<pg.Client[]> {
  const people: pg.Client[] = [];
  const take = async (): Promise<boolean> => {
    try {
      people.push(await crowded.person("crowd"));
      return true;
    } catch {
      return false;
    }
  };
  while (await take());
  return people;
}

test("a server that is full: it comes back as soon as slots are free, and at once where some are reserved for it", async () => {
  const { admin } = crowded;
  const cutThere = () => admin.query(cut);
  await admin.query("revoke pg_use_reserved_connections from lockwarden");
  const here = await place(config(crowded.url));
  const one = await watched(here);
  const people: pg.Client[] = [];
  const crowd = async () => {
    await cutThere();
    people.push(...(await fill()));
  };
  /** Who is cut is refused until the crowd has all slots, those too that the server gives back a moment later. */
  const crowdOut = async () => {
    await admin.query("alter role lockwarden connection limit 0");
    await crowd();
    await eventually(async () => {
      const inside = await admin.query("select from pg_stat_activity where usename = 'lockwarden'");
      const late = await fill();
      people.push(...late);
      return inside.rowCount === 0 && late.length === 0;
    });
    await admin.query("alter role lockwarden connection limit -1");
  };
  await survive(one, {
    begin: crowdOut,
    says: /remaining connection slots .*reserved_connections and pg_use_reserved_connections/,
    end: () => Promise.all(people.map((person) => person.end())),
  });
  await admin.query("grant pg_use_reserved_connections to lockwarden");
  await crowd();
  const returns = () => one.daemon.lines().filter(({ msg }) => String(msg).endsWith(" away")).length;
  await eventually(() => returns() === 2);
  await assert.rejects(crowded.person("crowd"), /remaining connection slots are reserved/);
});

test("while a password is wrong it is tried seldom and ever more seldom, and once for each try", async () => {
  const between = await front(postgres.port);
  await asAdmin((admin) => admin.query("alter role lockwarden password 'right'"));
  await admit("host all lockwarden all scram-sha-256");
  const url = `postgres://lockwarden:wrong@127.0.0.1:${between.port}/app?sslmode=disable`;
  const here = await place(config(url));
  const daemon = here.run();
  await eventually(() => between.taken().length >= 4, 60_000);
  const [taken, told] = [between.taken(), between.told()];
  // From a refusal to the next try it can only be longer than the pause, whatever the machine does: 0.5 s, 1 s, 2 s, each a
  // quarter less at most.
  const pauses = taken.slice(1).map((at, index) => at - (told[index] ?? at));
  for (const [index, least] of [375, 750, 1_500].entries())
    assert.ok((pauses[index] ?? 0) >= least, `pause ${index}: ${pauses[index]} ms`);
  assert.equal(daemon.lines().filter(({ msg }) => String(msg).includes("password authentication failed")).length, 1);
  await admit("host all nobody all reject");
});
