import type { Target } from "../config/schema.ts";
import { unreachable } from "../core/unreachable.ts";
import type { Engine, Link } from "./engine.ts";
import { grants as gaussGrants } from "./opengauss/grants.ts";
import { linkOn as gaussLinkOn } from "./opengauss/index.ts";
import { recognise, refusalOf } from "./opengauss/recognise.ts";
import { type GaussSetUp, setUpGauss } from "./opengauss/set-up.ts";
import { grants } from "./postgres/grants.ts";
import { linkOn } from "./postgres/index.ts";
import { openAs, type SetUpSession } from "./postgres/open.ts";
import { type SetUp, setUp } from "./postgres/set-up.ts";

type Recognising = (SetUp & Readonly<{ kind: "postgres" }>) | GaussSetUp;

const versionSql = "select /* lockwarden:version */ pg_catalog.version() as version";

/** Asks a server on the PostgreSQL protocol what it is, and speaks to it as that. */
async function connect(target: Target, signal: AbortSignal): Promise<Link> {
  const reader = await openAs(recognising(target), { target, options: {} }, signal);
  switch (reader.kind) {
    case "postgres":
      return await linkOn(target, reader, signal);
    case "gauss":
      return await gaussLinkOn(target, reader, signal);
    default:
      return unreachable(reader);
  }
}

function recognising(target: Target): SetUpSession<Recognising> {
  return async (wire, login, signal) => {
    const [row] = await wire.query(versionSql, [], signal);
    const found = recognise(row?.["version"] ?? "");
    const refusal = refusalOf(target, found);
    if (refusal !== null) throw refusal;
    return found.kind === "gauss"
      ? await setUpGauss(wire, { named: { name: found.name, version: found.version }, login, unsettled: true }, signal)
      : { kind: "postgres", ...(await setUp(wire, login, signal)) };
  };
}

const postgres: Engine<Target> = { name: "postgres", connect, grants };

/** For a target on the PostgreSQL protocol. Whatever it is called here, the server says what it is. */
export function recognised({ engine }: Pick<Target, "engine">): Engine<Target> {
  return engine === "opengauss" || engine === "gaussdb" ? { name: engine, connect, grants: gaussGrants } : postgres;
}
