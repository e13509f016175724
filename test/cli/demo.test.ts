import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { describe, test } from "node:test";
import { postgresFolders } from "../../src/demo/embedded-postgres.ts";
import { type DemoRun, isGone, ordinaryUser, project, serverPid, sessionPids, startDemo } from "../support/demo-run.ts";
import { eventually } from "../support/eventually.ts";
import { installedTree } from "../support/installed-tree.ts";

const story = [
  /Starting a PostgreSQL/,
  /PostgreSQL \d+\S* listens on 127\.0\.0\.1:\d+/,
  /mode: enforce/,
  /idle_for: 8s/,
  /blocks: \{ tables: \[public\.user_session\], for: 3s \}/,
  /steps: \[terminate\]/,
  /lockwarden run --config \S+ watches now \(pid \d+\)/,
  /reporting reads the table, leaves its transaction open too, and blocks nobody/,
  /web-1 logs alice in, and crashes/,
  /web-3 logs bob in, at once/,
  /web-1 \(pid \d+, idle in transaction for \S+ s\) blocks on public\.user_session: web-2 \S+ s; stuck-login: /,
  /: web-2 \S+ s, web-3 \S+ s, support \S+ s; stuck-login: terminate web-1 in \S+ s/,
  /Now nobody blocks anybody/,
  /web-1 +pid \d+, terminated by Lockwarden/,
  /web-2 +logged in after \S+ s/,
  /web-3 +logged in after \S+ s/,
  /support +logged in after \S+ s/,
  /reporting +pid \d+, idle in transaction for \S+ s, left alone/,
  /intent +terminate \d+,\w+\.\w+: /,
  /outcome +released: 3 sessions freed/,
  /notice +console: terminate of session/,
  /config\/lockwarden\.example\.yaml/,
  /Nothing is left behind/,
];

function assertStory(text: string): void {
  let rest = text;
  for (const line of story) {
    const found = line.exec(rest);
    assert.ok(found !== null, `expected ${line} next, got:\n${rest}\nof all this:\n${text}`);
    rest = rest.slice(found.index + found[0].length);
  }
}

async function assertNothingLeft({ temporary }: DemoRun, pids: readonly number[]): Promise<void> {
  for (const pid of pids) assert.ok(pid > 1 && isGone(pid), `process ${pid} is gone`);
  assert.deepEqual(await readdir(temporary), []);
}

/** Until everybody waits; the pids of server and daemon. */
async function untilAllWait(demo: DemoRun): Promise<{ server: number; daemon: number }> {
  const [, daemon] = await demo.said(/watches now \(pid (\d+)\)/);
  await demo.said(/support \S+ s; stuck-login: terminate/);
  return { server: await serverPid(demo), daemon: Number(daemon) };
}

// Each takes as long as the rule asks for, and hardly any processor time: so three at a time.
void describe("lockwarden demo", { concurrency: 3 }, () => {
  test("it tells its story in order, counts down, ends well and leaves nothing behind", async (t) => {
    const demo = await startDemo(t);
    const { server, daemon } = await untilAllWait(demo);
    assert.equal(await demo.ended, 0, demo.stderr());
    assertStory(demo.stdout());
    assert.equal(demo.stderr(), "");
    assert.ok(!demo.stdout().includes("\u001b"), "no escapes off a terminal");
    const left = [...demo.stdout().matchAll(/terminate web-1 in (\S+) s/g)].map(([, seconds]) => Number(seconds));
    assert.ok(left.length >= 3, `a countdown, got ${left.join(", ")}`);
    assert.deepEqual(
      left,
      left.toSorted((a, b) => b - a),
    );
    await assertNothingLeft(demo, [server, daemon]);
  });

  test("an ordinary user without a home runs it from a read-only installation of somebody else", async (t) => {
    const root = await installedTree(t, (name) => !/^pg1[24]$/.test(name));
    const { HOME: _, ...env } = process.env;
    const demo = await startDemo(t, { root, user: await ordinaryUser(), cwd: "/", env });
    const { server, daemon } = await untilAllWait(demo);
    assert.equal(await demo.ended, 0, demo.stderr());
    assertStory(demo.stdout());
    await assertNothingLeft(demo, [server, daemon]);
  });

  test("Ctrl-C in the middle leaves nothing behind", async (t) => {
    const demo = await startDemo(t);
    const { server, daemon } = await untilAllWait(demo);
    demo.child.kill("SIGINT");
    assert.equal(await demo.ended, 1);
    assert.match(demo.stderr(), /stopped by SIGINT before its end/);
    assert.doesNotMatch(demo.stdout(), /Nothing is left behind/);
    await assertNothingLeft(demo, [server, daemon]);
  });

  for (const signal of ["SIGTERM", "SIGHUP"] as const) {
    test(`${signal} while its server is still being made leaves nothing behind`, async (t) => {
      const demo = await startDemo(t);
      await demo.said(/Starting a PostgreSQL/);
      await eventually("there is a folder", async () => (await readdir(demo.temporary)).length > 0);
      demo.child.kill(signal);
      assert.equal(await demo.ended, 1);
      assert.match(demo.stderr(), new RegExp(`stopped by ${signal} before its end`));
      assert.doesNotMatch(demo.stdout(), /watches now/);
      await assertNothingLeft(demo, []);
    });
  }

  test("a daemon that dies makes it fail, and say so", async (t) => {
    const demo = await startDemo(t);
    const { server, daemon } = await untilAllWait(demo);
    process.kill(daemon, "SIGKILL");
    assert.equal(await demo.ended, 1);
    assert.match(
      demo.stderr(),
      /the daemon ended by itself \(signal SIGKILL\)\nThe daemon's last words:\n.*watching app/,
    );
    await assertNothingLeft(demo, [server, daemon]);
  });

  for (const { who, title, text } of [
    {
      who: "the innocent session",
      title: /^postgres: reporting app /,
      text: /reporting, which blocked nobody: expected/,
    },
    {
      who: "somebody who waits",
      title: /^postgres: login_service app .*waiting/,
      text: /expected a login, got failed/,
    },
  ]) {
    test(`${who} being hit makes it fail, and say so`, {
      skip: existsSync("/proc/self/stat") ? false : "its victim is found in /proc, which is not here",
    }, async (t) => {
      const demo = await startDemo(t);
      const { server, daemon } = await untilAllWait(demo);
      const [pid] = await sessionPids(server, title);
      assert.ok(pid !== undefined);
      process.kill(pid, "SIGTERM");
      assert.equal(await demo.ended, 1);
      assert.match(demo.stderr(), text);
      assert.doesNotMatch(demo.stdout(), /Nothing is left behind/);
      await assertNothingLeft(demo, [server, daemon]);
    });
  }

  test("without npm's binaries it takes the system's server, or says how to get one", async (t) => {
    const root = await installedTree(t, (name) => !/^pg1\d/.test(name));
    const isElsewhere = postgresFolders().some(
      (folder) => !folder.startsWith(project) && !folder.includes("node_modules"),
    );
    const demo = await startDemo(t, { root });
    if (isElsewhere) {
      await demo.said(/watches now/);
      return;
    }
    assert.equal(await demo.ended, 3);
    assert.match(demo.stderr(), /no PostgreSQL 12 to 18 .*\nHow to get one: npm ci/);
    await assertNothingLeft(demo, []);
  });
});
