import { lower, type Token, unquote } from "./tokens.ts";

// Who may log in, and what openGauss knows of them beyond PostgreSQL.

/** sha256: code 10. md5: code 5, what a password stored in both forms gets. The others cannot be answered: codes 11, 13. */
export type Method = "sha256" | "md5" | "md5-sha256" | "sm3";

export type Account = Readonly<{
  name: string;
  password: string;
  sysadmin: boolean;
  monadmin: boolean;
  /** Nobody but a sysadmin may signal them. */
  persistence: boolean;
  method: Method;
  /** Of the stored password: 10000 unless the server's auth_iteration_count says otherwise. */
  iterations: number;
  /** The server proves itself with a signature over another password: a client must not answer. */
  forged: boolean;
  salt: string;
}>;

export type AccountChange = Readonly<{ sql: string; account: Partial<Account> & Readonly<{ name: string }> }>;

/** CREATE USER and ALTER USER with words that PostgreSQL has not got; null: another statement. */
export function accountChange(tokens: readonly Token[]): AccountChange | null {
  const [verb, noun, name, ...rest] = tokens;
  if (!["create", "alter"].includes(lower(verb)) || !["user", "role"].includes(lower(noun))) return null;
  if (name === undefined || lower(rest[0]) === "set" || lower(rest[0]) === "rename") return null;
  const words = new Set(rest.map(lower));
  const at = rest.findIndex((token) => ["password", "by"].includes(lower(token)));
  const password = rest[at + 1]?.kind === "string" ? unquote(rest[at + 1]?.text ?? "") : null;
  const named = name.kind === "quoted" ? name.text.slice(1, -1).replaceAll('""', '"') : lower(name);
  const rights = [
    ...(lower(noun) === "user" || words.has("login") ? ["login"] : []),
    ...(words.has("sysadmin") ? ["superuser"] : []),
    ...(words.has("nosysadmin") ? ["nosuperuser"] : []),
  ];
  return {
    sql: `${lower(verb)} role ${name.text} ${rights.join(" ")}`,
    account: {
      name: named,
      ...(password === null ? {} : { password }),
      ...flag(words, "sysadmin"),
      ...flag(words, "monadmin"),
      ...flag(words, "persistence"),
    },
  };
}

function flag(words: ReadonlySet<string>, word: "sysadmin" | "monadmin" | "persistence"): Partial<Account> {
  if (words.has(word)) return { [word]: true };
  return words.has(`no${word}`) ? { [word]: false } : {};
}
