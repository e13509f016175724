import assert from "node:assert/strict";
import { BlockList, isIP } from "node:net";
import { test } from "node:test";
import fc from "fast-check";
import { addressMistake, globMistake, mailAddressMistake, patterns, regexMistake } from "../../src/config/patterns.ts";

const inside: readonly (readonly [string, string, boolean])[] = [
  ["10.0.0.0/8", "10.255.0.1", true],
  ["10.1.2.3/8", "10.255.0.1", true],
  ["10.0.0.0/8", "11.0.0.1", false],
  ["10.0.0.0/8", "::ffff:10.0.0.1", true],
  ["192.0.2.7", "192.0.2.7", true],
  ["192.0.2.7", "192.0.2.8", false],
  ["2001:db8::/32", "2001:db8::1", true],
  ["2001:db8::/32", "10.0.0.1", false],
  ["local", "local", true],
  ["local", "127.0.0.1", false],
  ["local", "elsewhere", false],
  ["0.0.0.0/0", "local", false],
  ["::1", "::1", true],
];
for (const [range, address, expected] of inside)
  test(`${address} is ${expected ? "in" : "not in"} ${range}`, () => {
    assert.equal(addressMistake(range), null);
    assert.equal(patterns.cidr([range])(address), expected);
  });

const wrong: readonly (readonly [string, string | null])[] = [
  ["10.0.0.0/33", "prefix from 0 to 32"],
  ["::/129", "prefix from 0 to 128"],
  ["10.0.0.0/", "prefix from 0 to 32"],
  ["10.0.0.0/8/8", "not an address"],
  ["10.0.0", "not an address"],
  ["db.example.org", "not an address"],
  ["fe80::1%eth0", "no zone, as the server shows none"],
];
for (const [range, reason] of wrong)
  test(`${range} is no range`, () => {
    assert.equal(addressMistake(range), reason);
  });

test("a regular expression is found anywhere in the text, in linear time", () => {
  assert.equal(patterns.regex("(?i)drop\\s+table")("  DROP  table t"), true);
  assert.equal(patterns.regex("^drop")("x drop"), false);
  assert.equal(patterns.regex("(a*)*b")("a".repeat(50_000)), false);
});

test("what RE2 cannot do is refused without showing the expression", () => {
  assert.equal(regexMistake("secret(?=x)"), "invalid or unsupported Perl syntax");
  assert.equal(regexMistake("secret("), "missing closing )");
  assert.equal(regexMistake("(secret)\\1"), "invalid escape sequence");
  assert.equal(regexMistake("x".repeat(1_001)), "at most 1000 characters");
  assert.equal(regexMistake("((a{100}){100}){100}"), "invalid repeat count");
});

test("brackets and spaces are plain characters of a glob, control characters and outer spaces are none", () => {
  assert.equal(globMistake("psql [x] (y)*?"), null);
  assert.equal(globMistake(" app"), "no space around it");
  assert.equal(globMistake("a\u0000b"), "no control characters");
});

test("a mail address may carry a name", () => {
  assert.equal(mailAddressMistake("Lockwarden <lockwarden@example.org>"), null);
  assert.equal(mailAddressMistake("a@b\r\nBcc: c@d"), "NAME@DOMAIN, or NAME <NAME@DOMAIN>");
  assert.equal(mailAddressMistake("a".repeat(300_000)), "at most 320 characters");
});

test("ranges hold the addresses that Node's own BlockList says they hold", () => {
  const part = fc.constantFrom(0, 1, 10, 127, 128, 254, 255);
  const ipv4 = fc.tuple(part, part, part, part).map((parts) => parts.join("."));
  const prefix = fc.integer({ min: 0, max: 32 });
  const odd = fc.constantFrom(
    "::1",
    "::ffff:10.0.0.1",
    "local",
    "",
    "1.2.3",
    "1.2.3.4.5",
    "01.2.3.4",
    "256.1.1.1",
    "1..2.3",
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(ipv4, prefix), { maxLength: 3 }), fc.oneof(ipv4, odd), (ranges, address) => {
      const list = new BlockList();
      for (const [net, bits] of ranges) list.addSubnet(net, bits, "ipv4");
      const family = isIP(address);
      const wanted = family !== 0 && list.check(address, family === 4 ? "ipv4" : "ipv6");
      assert.equal(patterns.cidr(ranges.map(([net, bits]) => `${net}/${bits}`))(address), wanted, address);
    }),
  );
});
