import assert from "node:assert/strict";
import { test } from "node:test";
import type { Target } from "../../src/config/schema.ts";
import { LinkLost } from "../../src/engines/engine.ts";
import { recognise, refusalOf } from "../../src/engines/opengauss/recognise.ts";
import { recognised } from "../../src/engines/recognised.ts";
import { openGauss } from "../support/opengauss/double.ts";
import { client, server } from "../support/servers.ts";
import { patience, target } from "../support/targets.ts";

const compiled = "compiled at 2025-08-01 00:00:00 commit 0 last mr  release on x86_64-unknown-linux-gnu";

const table: readonly [text: string, found: string][] = [
  [`(openGauss 7.0.0-RC2 build ) ${compiled}`, "openGauss 7.0.0-RC2"],
  [`(openGauss 5.0.0 build a07d57c3) ${compiled}`, "openGauss 5.0.0"],
  ["PostgreSQL 9.2.4 (openGauss 2.0.0 build 78689da9) compiled at 2021-03-31 21:04:03", "openGauss 2.0.0"],
  ["gaussdb (GaussDB Kernel 505.2.1.SPC0600 build 2aa20d4e) compiled at 2025-03-04", "GaussDB 505.2.1.SPC0600"],
  ["gaussdb (GaussDB Kernel V500R002C10 build 1) compiled at 2022", "GaussDB V500R002C10"],
  ["gaussdb (GaussDB 506.0.0 build 1) compiled at 2025", "GaussDB 506.0.0"],
  ["PostgreSQL 9.2.4 gsql ((GaussDB 8.1.3 build 39137c2d) compiled at 2022-04-01", "other"],
  ["PostgreSQL 9.2.4 gsql (( GaussDB 8.1.3 build 39137c2d) compiled at 2022-04-01", "other"],
  ["gaussdb (GaussVector 1.0 build 1) compiled at 2025", "other"],
  ["PostgreSQL 18.4 on x86_64-pc-linux-gnu, compiled by gcc 12.2.0, 64-bit", "postgres"],
  ["PostgreSQL 12.22 (Ubuntu 12.22-1) on aarch64-unknown-linux-gnu", "postgres"],
  ["", "postgres"],
];

test("who answers is read from version(), whatever server_version says", () => {
  for (const [text, expected] of table) {
    const found = recognise(text);
    assert.equal(found.kind === "gauss" ? `${found.name} ${found.version}` : found.kind, expected, text);
  }
});

test("an engine that is named must be the one that answers, and one that is left out is recognised", () => {
  const engines: readonly Target["engine"][] = [undefined, "postgres", "opengauss", "gaussdb"];
  const accepted = (text: string) =>
    engines.filter((engine) => refusalOf({ name: "app", engine }, recognise(text)) === null);
  assert.deepEqual(accepted(table[0]?.[0] ?? ""), [undefined, "opengauss"]);
  assert.deepEqual(accepted(table[3]?.[0] ?? ""), [undefined, "gaussdb"]);
  assert.deepEqual(accepted(table[9]?.[0] ?? ""), [undefined, "postgres"]);
  assert.deepEqual(accepted(table[6]?.[0] ?? ""), []);
});

const gauss = await openGauss();
const shop = await openGauss({ version: "GaussDB 505", threadPool: true });
const postgres = await server();
for (const double of [gauss, shop])
  await double.createUser({ name: "lockwarden", monadmin: true, signalBackend: true, auth: "sha256" });

async function refusal(url: string, engine: Target["engine"], more: Partial<Target> = {}): Promise<LinkLost> {
  const asked = target(url, { ...(engine === undefined ? {} : { engine }), ...more });
  const error: unknown = await recognised(asked)
    .connect(asked, patience())
    .then(
      (link) => link.close(),
      (reason: unknown) => reason,
    );
  assert.ok(error instanceof LinkLost, `expected LinkLost, got ${String(error)}`);
  return error;
}

async function answered(url: string, engine: Target["engine"]): Promise<string> {
  const asked = target(url, engine === undefined ? {} : { engine });
  const link = await recognised(asked).connect(asked, patience());
  await link.close();
  return `${link.facts.engine ?? "postgres"} ${link.facts.version}`;
}

test("a target without an engine connects to whatever is there, and one with an engine to that only", async () => {
  const urls = { opengauss: gauss.url("lockwarden"), gaussdb: shop.url("lockwarden"), postgres: postgres.url() };
  const names = {
    opengauss: /^opengauss 7\.0\.0-RC2 \(thread pool off\)$/,
    gaussdb: /^gaussdb 505\.2\.1\.SPC0600 \(/,
    postgres: /^postgres \d/,
  };
  for (const there of ["opengauss", "gaussdb", "postgres"] as const) {
    for (const engine of [undefined, there])
      assert.match(await answered(urls[there], engine), new RegExp(names[there]));
    for (const engine of (["opengauss", "gaussdb", "postgres"] as const).filter((one) => one !== there)) {
      const { kind, message, hint } = await refusal(urls[there], engine);
      assert.equal(kind, "refused");
      assert.match(
        message,
        new RegExp(`the target says engine: ${engine}, and the server is (openGauss|GaussDB|PostgreSQL) \\S+$`),
      );
      assert.match(hint ?? "", new RegExp(`^leave engine out .*, write engine: ${there}, or correct the url$`));
    }
  }
});

test("kill_with is not passed over in silence where the server is PostgreSQL: it is refused, with the way out", async () => {
  for (const engine of [undefined, "postgres"] as const) {
    const { kind, message, hint } = await refusal(postgres.url(), engine, { kill_with: "kill-session" });
    assert.equal(kind, "refused");
    assert.match(message, /says kill_with: kill-session, and PostgreSQL \S+ has no such statement$/);
    assert.match(hint ?? "", /^leave kill_with out/);
  }
  const guarded = target(postgres.url(), { kill_with: "guarded" });
  await (await recognised(guarded).connect(guarded, patience())).close();
});

test("a data warehouse, an unknown relative and a distributed GaussDB are refused with the reason", async () => {
  const { text } = { text: "PostgreSQL 9.2.4 gsql ((GaussDB 8.1.3 build 39137c2d) compiled at 2022-04-01" };
  const version = (to: string) => gauss.setVersion(to);
  try {
    version(text);
    assert.match(
      (await refusal(gauss.url("lockwarden"), undefined)).message,
      /GaussDB\(DWS\), a data warehouse of many nodes/,
    );
    version("gaussdb (GaussVector 1.0 build 1) compiled at 2025");
    assert.match(
      (await refusal(gauss.url("lockwarden"), undefined)).message,
      /a relative of openGauss that Lockwarden was never/,
    );
  } finally {
    version(table[0]?.[0] ?? "");
  }
  const distributed =
    "create or replace function gauss.gs_deployment() returns text language sql as 'select ''Distribute''::text'";
  const admin = await client(gauss.backend.url());
  await admin.query(distributed);
  const { message, hint } = await refusal(gauss.url("lockwarden"), "opengauss");
  assert.match(message, /expected one server, got a distributed openGauss 7\.0\.0-RC2 \(Distribute\)/);
  assert.match(hint ?? "", /a coordinator shows and ends only its own sessions/);
  await admin.query(distributed.replace("Distribute", "OpenSourceCentralized"));
  await admin.end();
});

test("where || joins no texts, all locks would have one name and everybody would block everybody: it is refused at connect", async () => {
  gauss.pipesMeanOr(true);
  try {
    const { kind, message, hint } = await refusal(gauss.url("lockwarden"), "opengauss");
    assert.equal(kind, "refused");
    assert.match(message, /expected \|\| to join texts, got a session of openGauss 7\.0\.0-RC2 where it means or$/);
    assert.match(hint ?? "", /pipes_as_concat/);
  } finally {
    gauss.pipesMeanOr(false);
  }
});
