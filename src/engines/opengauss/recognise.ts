import type { Target } from "../../config/schema.ts";
import { LinkLost } from "../engine.ts";
import type { Product } from "./product.ts";

// Who answers is read from version() alone: server_version is 9.2.4 on every release of openGauss and GaussDB.

export type Recognised =
  | Readonly<{ kind: "postgres"; text: string }>
  | (Readonly<{ kind: "gauss" }> & Pick<Product, "name" | "version">)
  /** One that it is told apart from, with the reason why it will not do. */
  | Readonly<{ kind: "other"; text: string; why: string }>;

const openGauss = /openGauss\s+([\d.]+[^\s)]*)/i;
const gaussKernel = /GaussDB Kernel\s+([^\s)]+)/i;
const dataWarehouse = /gsql\s*\(\(\s*GaussDB\s+([\d.]+)|GaussDB\s*\(DWS\)|\bDWS\b/i;
const gauss = /^\s*gaussdb\s*\(\s*GaussDB\s+([\d.]+[^\s)]*)/i;

/** Of the text of version(). */
export function recognise(version: string): Recognised {
  const text = shown(version);
  const open = openGauss.exec(version)?.[1];
  if (open !== undefined) return { kind: "gauss", name: "openGauss", version: open };
  const kernel = gaussKernel.exec(version)?.[1];
  if (kernel !== undefined) return { kind: "gauss", name: "GaussDB", version: kernel };
  if (dataWarehouse.test(version))
    return {
      kind: "other",
      text,
      why: "this is GaussDB(DWS), a data warehouse of many nodes, of which one shows and ends only its own sessions",
    };
  const plain = gauss.exec(version)?.[1];
  if (plain !== undefined) return { kind: "gauss", name: "GaussDB", version: plain };
  if (/gauss/i.test(version))
    return { kind: "other", text, why: "this is a relative of openGauss that Lockwarden was never tried with" };
  return { kind: "postgres", text };
}

/** Why Lockwarden does not work with whoever answered as this target; null: it does. */
export function refusalOf(target: Pick<Target, "name" | "engine" | "kill_with">, found: Recognised): LinkLost | null {
  if (found.kind === "other")
    return new LinkLost("refused", `expected PostgreSQL, openGauss or GaussDB, got ${found.text}: ${found.why}`, {
      hint: "watch such a server by its own means",
    });
  const { engine, kill_with: killWith } = target;
  const got = found.kind === "postgres" ? "postgres" : found.name === "openGauss" ? "opengauss" : "gaussdb";
  if (engine === undefined || engine === got)
    return killWith === "kill-session" && found.kind === "postgres" ? withoutKillSession(found.text) : null;
  const what = found.kind === "postgres" ? found.text : `${found.name} ${found.version}`;
  return new LinkLost("refused", `the target says engine: ${engine}, and the server is ${what}`, {
    hint: `leave engine out (the server says what it is), write engine: ${got}, or correct the url`,
  });
}

function withoutKillSession(server: string): LinkLost {
  return new LinkLost("refused", `the target says kill_with: kill-session, and ${server} has no such statement`, {
    hint: "leave kill_with out, which is for openGauss and GaussDB, or correct the url",
  });
}

/** One line, as much as says which it is. */
function shown(version: string): string {
  const line = version.replace(/\s+/g, " ").trim();
  const short = /^(.*?)(?: \)? ?compiled (?:at|by)| on )/.exec(line)?.[1] ?? line;
  return short.length > 80 ? `${short.slice(0, 79)}…` : short;
}
