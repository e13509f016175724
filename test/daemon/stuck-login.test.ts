import assert from "node:assert/strict";
import { test } from "node:test";
import { place } from "../support/lockwarden.ts";
import { abandon, logIn, loginService, pidOf } from "../support/login-service.ts";
import { header, mailServer } from "../support/mail-server.ts";
import { eventually, majors } from "../support/servers.ts";

function config(url: string, smtp: string): string {
  return `
mode: enforce
targets: [{name: app, url: "${url}", poll: 30s}]
rules:
  - name: stuck-login
    match:
      state: idle in transaction
      idle_for: 2s
      blocks: {tables: [public.user_session], waiters: 1, for: 1s}
    steps: [terminate]
    notify: [oncall]
  - name: long-blocker
    match: {transaction_for: 2s, blocks: {for: 1s}}
    # Its two seconds begin with the transaction, before those of stuck-login: without web-1 here, either may act first.
    except: {applications: [writer, web-1]}
    steps: [cancel, {wait: 1s}, terminate]
    notify: [oncall]
channels:
  - {name: oncall, type: email, smtp: "${smtp}", starttls: never, from: lockwarden@example.org, to: [dba@example.org]}
`;
}

for (const major of majors()) {
  test(`PostgreSQL ${major}: a stuck login frees itself, and every innocent neighbour survives`, async (t) => {
    const service = await loginService({
      major,
      settings: { synchronous_standby_names: "nowhere", synchronous_commit: "local", wal_level: "logical" },
    });
    const { admin, person } = service;
    const mail = await mailServer(t);
    const smtp = `smtp://127.0.0.1:${mail.port}`;

    // The innocent: none of them may lose its session.
    const reporting = await person("reporting");
    await abandon(reporting, 11); // idle in transaction, but blocks nobody
    const root = await person("psql", "postgres");
    await abandon(root, 12); // blocks somebody, but is a superuser
    const behindRoot = await person("web-4");
    const waitsForRoot = logIn(behindRoot, 12);
    waitsForRoot.catch(() => undefined);
    const replica = await person("replica", "login_service", { replication: "database" } as object);
    const committing = await person("committer");
    await committing.query("set synchronous_commit = on");
    await abandon(committing, 13);
    const commit = committing.query("commit"); // hangs until a standby confirms it
    commit.catch(() => undefined);
    const behindCommit = await person("web-5");
    const waitsForCommit = logIn(behindCommit, 13);
    waitsForCommit.catch(() => undefined);
    const writer = await person("writer");
    const enough = new AbortController();
    const written = (async () => {
      let count = 0;
      while (!enough.signal.aborted) {
        await writer.query("begin");
        await logIn(writer, 14);
        await writer.query("commit");
        count++;
      }
      return count;
    })();

    const here = await place(config(service.url, smtp));
    const daemon = here.run();
    const there = await place(config(service.url, smtp));
    const twin = there.run(); // another Lockwarden, with a state folder of its own
    await eventually(() => daemon.said().includes("connected") && twin.said().includes("connected"));

    // The story: an application crashed, and its transaction keeps alice's row.
    const crashed = await person("web-1");
    const lost = new Promise<void>((resolve) => crashed.once("end", resolve));
    const victimPid = await pidOf(crashed);
    await abandon(crashed, 1);
    const alice = await person("web-2");
    const alicePid = await pidOf(alice);
    const login = logIn(alice, 1);
    await eventually(async () => {
      const { rows } = await admin.query("select 1 from pg_stat_activity where pid = $1 and wait_event_type = 'Lock'", [
        alicePid,
      ]);
      return rows.length === 1;
    });

    await login; // she really gets through
    await lost; // and the victim has really lost its session
    await eventually(async () => {
      const gone = await admin.query("select 1 from pg_stat_activity where pid = $1", [victimPid]);
      return gone.rows.length === 0;
    });

    // What it wrote down, in this order; the twin wrote no intent.
    const acts = await eventually(async () => {
      const events = [...(await here.journal()), ...(await there.journal())];
      const found = events.filter((event) => event.event === "intent" || event.event === "outcome");
      return found.length >= 2 && found;
    });
    assert.deepEqual(
      acts.map((event) => event.event),
      ["intent", "outcome"],
    );
    const [intent, outcome] = acts;
    assert.equal(intent?.id, outcome?.id);
    assert.ok(intent?.event === "intent" && intent.decision.evidence.victim.kind === "session");
    assert.equal(intent.decision.evidence.victim.pid, String(victimPid));
    assert.equal(intent.decision.rule, "stuck-login");
    assert.deepEqual(
      intent.decision.evidence.waiters.map((waiter) => waiter.pid),
      [String(alicePid)],
    );
    assert.ok(intent.decision.evidence.holds.some((hold) => hold.relation?.name === "user_session"));
    assert.ok(outcome?.event === "outcome");
    assert.equal(outcome.outcome.kind, "released");
    assert.deepEqual(outcome.outcome.freed.length, 1);

    // What people were told.
    const told = await eventually(() => mail.mails.find((one) => one.text.includes(`${victimPid},`)));
    assert.deepEqual(told.to, ["dba@example.org"]);
    assert.match(header(told, "Subject") ?? "", /terminate of session/);
    assert.match(told.text, /web-1/);
    assert.match(told.text, /The lock is free/);

    // Long enough for the rules to have judged everybody many times over.
    const superuserSpared = await eventually(() =>
      mail.mails.find((one) => one.text.includes("belongs to a superuser")),
    );
    assert.match(superuserSpared.text, /left session/);
    await eventually(() => mail.mails.some((one) => one.text.includes("waits for a standby")));
    enough.abort();
    assert.ok((await written) > 0);
    for (const innocent of [reporting, root]) {
      const { rows } = await innocent.query<{ id: number }>("select count(*)::int as id from public.user_session");
      assert.equal(rows[0]?.id, 20);
      await innocent.query("commit");
    }
    await replica.query("IDENTIFY_SYSTEM");
    await waitsForRoot;
    const syncRep = await admin.query(
      "select 1 from pg_stat_activity where application_name = 'committer' and wait_event = 'SyncRep'",
    );
    assert.equal(syncRep.rows.length, 1);
    const watchdogs = await admin.query(
      "select 1 from pg_stat_activity where application_name = 'lockwarden' and usename = 'lockwarden'",
    );
    assert.equal(watchdogs.rows.length, 4);
    await admin.query("select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'committer'");
    await Promise.all([commit, waitsForCommit]);

    daemon.child.kill("SIGTERM");
    assert.equal((await daemon.ended).code, 0);
    // One incident each for the victim, the superuser and the commit: one notice each, whatever the number of looks.
    const about = (text: string) => mail.mails.filter((one) => one.text.includes(text)).length;
    assert.equal(about("terminate of session"), about(`${victimPid},`));
  });
}
