import assert from "node:assert/strict";
import { test } from "node:test";
import { configSchema } from "../../src/config/schema.ts";
import type { Log } from "../../src/daemon/log-port.ts";
import { createTeller } from "../../src/daemon/teller.ts";
import type { Notice } from "../../src/notify/channel.ts";
import { eventually } from "../support/eventually.ts";
import { mailServer } from "../support/mail-server.ts";
import { muteLog } from "../support/mute-log.ts";
import { tempFolder } from "../support/temp-folder.ts";

function channels(...given: readonly object[]) {
  const config = { targets: [{ name: "app" }], rules: [{ name: "a", match: {}, steps: ["notify"] }], channels: given };
  return configSchema
    .parse(config)
    .channels.map((one) => (one.type === "log" ? one : { ...one, smtp: one.smtp ?? "" }));
}

function notice(id: string): Notice {
  const at = new Date().toISOString();
  return { id, incident: id, phase: "system", at, target: null, decision: null, outcome: null, text: `notice ${id}` };
}

test("what is told while a reload changes the channels reaches the new ones, and nothing is told to nobody", async (t) => {
  const stateDir = await tempFolder(t);
  const server = await mailServer(t);
  const mail = (name: string, port: number) => ({
    name,
    type: "email",
    smtp: `smtp://127.0.0.1:${port}`,
    starttls: "never",
    from: "lockwarden@example.org",
    to: [`${name}@example.org`],
  });
  const errors: string[] = [];
  const log: Log = { ...muteLog, error: (_facts, text) => void errors.push(text), child: () => log };
  const journal = {
    works: () => true,
    trouble: () => null,
    write: () => Promise.resolve(),
    mend: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  let ids = 0;
  // Port 1: nobody listens there, so it has something to hand over.
  const teller = await createTeller({
    channels: channels(mail("old", 1), mail("kept", server.port)),
    stateDir,
    journal,
    log,
    newId: () => String(ids++),
  });
  teller.tell(notice("before"), ["kept"]);
  const changing = teller.configure(channels(mail("new", server.port), mail("kept", server.port)));
  teller.tell(notice("during"), ["new"]);
  teller.tell(notice("of-a-rule-that-had-its-own"), ["old"]);
  await changing;
  // A delivery that a hand-over cuts short is made again: rather twice than never.
  const all = () => server.mails.map(({ headers, to: [one] }) => `${/notice \S+/.exec(headers)?.[0]} ${one}`).sort();
  const to = () => [...new Set(all())];
  const expected = [
    "notice before kept@example.org",
    "notice during new@example.org",
    "notice of-a-rule-that-had-its-own kept@example.org",
    "notice of-a-rule-that-had-its-own new@example.org",
  ];
  await eventually("all of them have come", () => to().length >= expected.length);
  assert.deepEqual([to(), errors], [expected, []]);
  await teller.close(1_000);
});
