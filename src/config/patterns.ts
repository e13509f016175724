import { BlockList, isIP } from "node:net";
import { RE2JS } from "re2js";

const longestPattern = 1_000;

/** Matchers for the forms below; what they are given has been found right. */
export const patterns = {
  regex(source: string): (text: string) => boolean {
    const compiled = RE2JS.compile(source);
    return (text) => compiled.matcher(text).find();
  },
  cidr(ranges: readonly string[]): (address: string) => boolean {
    const list = new BlockList();
    const subnets: Subnet[] = [];
    for (const range of ranges) {
      const [address = "", prefix] = range.split("/");
      const family = familyOf(address);
      if (family === null) continue;
      list.addSubnet(address, Number(prefix ?? (family === "ipv4" ? 32 : 128)), family);
      if (family === "ipv4") subnets.push(subnetOf(address, Number(prefix ?? 32)));
    }
    const plain = subnets.length === list.rules.length;
    return (address) => {
      // A BlockList makes an object for each question: thousands of sessions are asked about.
      const number = plain ? ipv4Number(address) : null;
      if (number !== null) return subnets.some(({ from, size }) => number >= from && number < from + size);
      const family = familyOf(address);
      return family === null ? address === "local" && ranges.includes("local") : list.check(address, family);
    };
  },
} as const;

type Subnet = Readonly<{ from: number; size: number }>;

function subnetOf(address: string, prefix: number): Subnet {
  const size = 2 ** (32 - prefix);
  const number = ipv4Number(address) ?? 0;
  return { from: number - (number % size), size };
}

/** The address as a number; null: not one of four plain decimals. */
function ipv4Number(address: string): number | null {
  let number = 0;
  let part = -1;
  let dots = 0;
  for (let at = 0; at < address.length; at++) {
    const code = address.charCodeAt(at);
    if (code === dot && part >= 0 && dots < 3) {
      number = number * 256 + part;
      part = -1;
      dots++;
    } else if (code >= zero && code <= zero + 9 && part !== 0) {
      part = Math.max(part, 0) * 10 + code - zero;
      if (part > 255) return null;
    } else {
      return null;
    }
  }
  return dots === 3 && part >= 0 ? number * 256 + part : null;
}

const dot = 46;
const zero = 48;

function familyOf(address: string): "ipv4" | "ipv6" | null {
  const family = isIP(address);
  return family === 0 ? null : family === 4 ? "ipv4" : "ipv6";
}

// What is wrong with a text of a certain form, in words; null when nothing is.

/** One IP address, a CIDR range, or `local` for a Unix socket. */
export function addressMistake(text: string): string | null {
  if (text === "local") return null;
  const [address = "", prefix, ...rest] = text.split("/");
  const family = familyOf(address);
  if (family === null || rest.length > 0) return "not an address";
  if (address.includes("%")) return "no zone, as the server shows none";
  if (prefix === undefined) return null;
  const most = family === "ipv4" ? 32 : 128;
  return /^\d{1,3}$/.test(prefix) && Number(prefix) <= most ? null : `prefix from 0 to ${most}`;
}

/** Only `*` and `?` are wild, so nearly every text is a glob; names on the server have no control characters. */
export function globMistake(text: string): string | null {
  if (text.length > longestPattern) return `at most ${longestPattern} characters`;
  if (text.trim() !== text) return "no space around it";
  return /\p{Cc}/u.test(text) ? "no control characters" : null;
}

/** RE2 syntax: no look-around, no back-references, linear time. */
export function regexMistake(text: string): string | null {
  if (text.length > longestPattern) return `at most ${longestPattern} characters`;
  try {
    RE2JS.compile(text);
    return null;
  } catch (error) {
    // Its `error` names the kind of mistake without the pattern, which may have come from the environment.
    const kind = error instanceof Error && "error" in error ? error.error : null;
    return typeof kind === "string" ? kind : "cannot be compiled";
  }
}

export function timeZoneMistake(text: string): string | null {
  try {
    Intl.DateTimeFormat("en", { timeZone: text }).format(0);
    return null;
  } catch {
    return "not a zone that this machine knows";
  }
}

export function mailAddressMistake(text: string): string | null {
  if (text.length > 320) return "at most 320 characters";
  return /^[^\r\n]*[^\s@]@[^\s@]+$/.test(text) ? null : "NAME@DOMAIN, or NAME <NAME@DOMAIN>";
}

const probeWords = ["select", "with", "lock", "insert", "update", "delete", "merge", "table", "values"];

/** null when this may be a probe. That it is one statement the server sees to: it takes no more in one message. */
export function probeMistake(sql: string): string | null {
  const word = /^[\s(]*([a-z]+)\b/iu.exec(sql)?.[1]?.toLowerCase();
  if (word === undefined) return "it does not begin with a word";
  return probeWords.includes(word) ? null : `it begins with ${word}`;
}
