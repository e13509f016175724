import assert from "node:assert/strict";

// What strangers may call themselves, and what of it may reach a person.

const escape = "\u001b";

/** Each at most 63 bytes, so that the server keeps all of it. */
export const nastyNames: readonly string[] = [
  `${escape}[2J${escape}[31mred${escape}]0;title\u0007`,
  `${escape}]52;c;ZXZpbA==\u0007${escape}]8;;http://x\u0007`,
  "c1 \u009b2J \u0085 \u007f \u0008\u0008",
  "x\r\nBcc: all@example.org\r\n\r\nforged",
  "line\nfeed\t\"quoted\" 'single' `id`",
  "\u202egnirts\u202c\u2066\u200b\u200d\ufeff\u061c\u00ad",
  "${HOME} $(id) ; rm -rf / -- %s %n {{x}} <b>&amp;",
  "__proto__",
  "é".repeat(31),
  "用户表🐘 ž\u0301 \u{e0041}\u{e0042}",
];

/** Whatever would be acted on by a terminal, hide, or turn the text around. */
const unsafe = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

/** Lines of plain text and nothing else. */
export function assertPlain(text: string, what: string): void {
  const found = unsafe.exec(text.replaceAll("\n", ""));
  const around =
    found === null ? "" : JSON.stringify(text.replaceAll("\n", "").slice(found.index - 40, found.index + 40));
  assert.equal(found, null, `${what}: U+${found?.[0].codePointAt(0)?.toString(16)} in ${around}`);
}

/** A mail's text as the reader's program shows it. */
export function decodedBody(headers: string, text: string): string {
  const encoding = /^content-transfer-encoding: *(\S+)/im.exec(headers)?.[1]?.toLowerCase();
  if (encoding === "base64") return Buffer.from(text, "base64").toString("utf8");
  if (encoding !== "quoted-printable") return text;
  const bytes = text
    .replaceAll(/=\r?\n/g, "")
    .replaceAll(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** The words of a header in which words are encoded (RFC 2047). */
export function decodedHeader(value: string): string {
  const bytes = value
    .replaceAll(/\?=\s+=\?/g, "?==?")
    .replaceAll(/=\?utf-8\?([bq])\?([^?]*)\?=/gi, (_, kind: string, text: string) =>
      kind.toLowerCase() === "b"
        ? Buffer.from(text, "base64").toString("latin1")
        : text
            .replaceAll("_", " ")
            .replaceAll(/=([0-9A-F]{2})/g, (__, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    );
  return Buffer.from(bytes, "latin1").toString("utf8");
}

export function headerNames(headers: string): readonly string[] {
  return headers
    .replaceAll(/\r\n[ \t]+/g, " ")
    .split("\r\n")
    .map((line) => line.split(":", 1)[0] ?? "")
    .toSorted();
}
