import assert from "node:assert/strict";
import { test } from "node:test";
import { LinkLost } from "../../src/engines/engine.ts";
import {
  type Classified,
  classify,
  endsSession,
  isLockTimeout,
  isMissing,
  reasonOf,
  refusalOf,
} from "../../src/engines/oceanbase/errors.ts";

/** As the driver makes them: `code` is MySQL's name of the number, right or wrong. */
function said(errno: number, message: string, sqlState = "HY000", code = "ER_ILLEGAL_HA") {
  return Object.assign(new Error(message), { errno, sqlState, code, sqlMessage: message });
}

const internal = (code: number, text: string) =>
  said(600, `ORA-00600: internal error code, arguments: ${code}, ${text}`);

const oracle: readonly [string, ReturnType<typeof said>, Classified["kind"]][] = [
  ["an unknown session", internal(-4174, "Unknown thread id: 3221487726"), "gone"],
  ["an unknown session in other words", internal(-4174, "entry does not exist"), "gone"],
  ["another's session", internal(-5251, "You are not owner of thread 3221487726"), "denied"],
  ["another's session in other words", internal(-5251, "kill denied"), "denied"],
  ["no ALTER SYSTEM", said(1031, "ORA-01031: insufficient privileges"), "denied"],
  ["a view without a grant", said(942, "ORA-00942: table or view does not exist", "42S02"), "denied"],
  ["an interrupted statement", internal(-5065, "Query execution was interrupted"), "failed"],
  ["a kill that failed", internal(-4402, "Kill Client Session failed"), "failed"],
  ["a statement that took too long", internal(-4012, "Timeout, query has reached the maximum query timeout"), "failed"],
  ["an error of syntax", said(900, "ORA-00900: You have an error in your SQL syntax", "42000"), "failed"],
  [
    "a transaction that was killed",
    said(24_761, "ORA-24761: transaction rolled back: transaction is killed"),
    "failed",
  ],
  ["our own session's end", said(1092, "ORA-01092: OceanBase instance terminated. Disconnection forced"), "lost"],
  ["our own session's kill", said(28, "ORA-00028: your session has been killed"), "lost"],
];

const mysql: readonly [string, ReturnType<typeof said>, Classified["kind"]][] = [
  ["an unknown session", said(1094, "Unknown thread id: 3221487726"), "gone"],
  ["another's session", said(1095, "You are not owner of thread 3221487726"), "denied"],
  [
    "a missing privilege",
    said(1227, "Access denied; you need (at least one of) the SUPER privilege(s)", "42501"),
    "denied",
  ],
  ["a view without a grant", said(1142, "SELECT command denied to user 'w'@'%' for table 'GV$OB_LOCKS'"), "denied"],
  ["an interrupted statement", said(1317, "Query execution was interrupted", "70100"), "failed"],
  ["a kill of oneself through a proxy", said(4401, "Client Session need be killed"), "failed"],
  ["a kill that failed", said(4402, "Kill Client Session failed"), "failed"],
  ["a number of Oracle's without its prefix", said(1092, "something about an insert"), "failed"],
  ["our own session's end", said(1927, "Connection was killed", "70100"), "lost"],
];

/** What a server's settings make of a message. */
const dresses: readonly [string, (message: string) => string][] = [
  ["plain", (message) => message],
  ["OBE-", (message) => message.replace(/^ORA-/, "OBE-")],
  ["rich", (message) => `${message}\n[127.0.0.1:2882] [2026-11-21 12:00:00.000000] [YB427F000001-000626A1-0-0]`],
  ["OBE- and rich", (message) => `${message.replace(/^ORA-/, "OBE-")}\n[127.0.0.1:2882] [trace -4174 ORA-01031]`],
];

for (const [dress, dressed] of dresses)
  for (const [mode, cases] of [
    ["Oracle", oracle],
    ["MySQL", mysql],
  ] as const)
    for (const [what, error, kind] of cases)
      test(`${mode} mode, ${dress}: ${what} is ${kind}`, () => {
        const dressedUp = said(error.errno, dressed(error.message), error.sqlState);
        const found = classify(dressedUp);
        assert.equal(found.kind, kind);
        assert.doesNotMatch(found.error, /\n|trace|127\.0\.0\.1/);
      });

test("what the socket or the driver says is lost, whatever its words", () => {
  for (const code of ["ECONNRESET", "PROTOCOL_CONNECTION_LOST", "EPIPE"]) {
    const error = Object.assign(new Error("Unknown thread id: 1"), { code, fatal: true });
    assert.deepEqual(classify(error), { kind: "lost", error: "Unknown thread id: 1" });
    assert.equal(endsSession(error), true);
  }
  assert.equal(classify(new LinkLost("lost", "gone")).kind, "lost");
  assert.equal(classify(new Error("a mistake of our own")).kind, "failed");
  assert.equal(endsSession(said(1094, "Unknown thread id: 1")), false);
});

test("a view, column or function that is missing is told from trouble", () => {
  const missing = [
    said(942, "ORA-00942: table or view does not exist"),
    said(904, "OBE-00904: invalid identifier 'ID3'"),
    internal(-4007, "show not supported"),
    said(1146, "Table 'oceanbase.gv$ob_locks' doesn't exist"),
    said(1054, "Unknown column 'ID3' in 'field list'"),
    said(1305, "FUNCTION GET_LOCK does not exist"),
    said(1142, "SELECT command denied"),
  ];
  for (const error of missing) assert.equal(isMissing(error), true, error.message);
  const others = [internal(-4012, "Timeout"), said(4012, "Timeout"), new Error("no"), new LinkLost("lost", "gone")];
  for (const error of others) assert.equal(isMissing(error), false, error.message);
});

test("waiting for a lock in vain is told from other errors", () => {
  const stuck = [
    said(30_006, "ORA-30006: resource busy; acquire with WAIT timeout expired"),
    said(54, "OBE-00054: resource busy and acquire with NOWAIT specified or timeout expired"),
    said(1205, "Lock wait timeout exceeded; try restarting transaction"),
    internal(-6003, "Try lock row conflict"),
  ];
  for (const error of stuck) assert.equal(isLockTimeout(error), true, error.message);
  for (const error of [said(1213, "Deadlock found"), internal(-4012, "Timeout"), new Error("-6003")])
    assert.equal(isLockTimeout(error), false, error.message);
});

test("why a login is refused is read from the words as well as from the number", () => {
  const cases: readonly [Error, ReturnType<typeof refusalOf>][] = [
    [said(1045, "Access denied for user 'lockwarden'@'10.0.0.1' (using password: YES)"), "password"],
    [said(1045, "Access denied for user 'tenant'@'10.0.0.1' (using password: YES)"), "password"],
    [said(1017, "ORA-01017: invalid username/password; logon denied"), "password"],
    [said(1045, "ORA-01045: user LOCKWARDEN lacks CREATE SESSION privilege; logon denied"), "session"],
    [said(28_000, "OBE-28000: the account is locked"), "locked"],
    [said(1235, "Oracle tenant for current client driver is not supported", "0A000"), "driver"],
    [said(5160, "invalid tenant name"), "tenant"],
    [said(4669, "cluster not exist"), "tenant"],
    [said(1040, "Too many connections"), "full"],
    [said(1064, "You have an error"), null],
    [new Error("Access denied"), null],
  ];
  for (const [error, expected] of cases) assert.equal(refusalOf(error), expected, error.message);
});

test("a reason is one line that is not too long, and never empty", () => {
  assert.equal(reasonOf(new Error("one\r\ntwo")), "one");
  assert.equal(reasonOf(new Error("x".repeat(5_000))).length, 301);
  assert.equal(reasonOf(Object.assign(new Error(""), { code: "ECONNRESET" })), "ECONNRESET");
  assert.equal(reasonOf(new AggregateError([new Error("a"), new Error("b")])), "a; b");
  assert.equal(reasonOf(new Error("")), "no reason given");
});
