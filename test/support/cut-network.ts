import { execFileSync } from "node:child_process";
import { after } from "node:test";

/** A host of its own beside this one, joined by a cable that can be cut. */
export type OtherHost = Readonly<{
  /** This host, as seen from there. */
  address: string;
  /** Before a program and its words: it runs there. */
  command: readonly string[];
  /** From now on every packet vanishes, in both directions, and nobody is told. */
  cut(): void;
  mend(): void;
}>;

const mark = String(process.pid);
const name = `lockwarden-${mark}`;
const [here, there] = [`lwa${mark}`, `lwb${mark}`];
// Reserved for documentation, so that nobody is there; and yet somebody may use one of them.
const networks = ["198.51.100", "203.0.113", "192.0.2"];

function freeNetwork(): string | undefined {
  const used = ["address", "route"].map((what) => execFileSync("ip", [what], { encoding: "utf8" })).join("\n");
  return networks.find((network) => !used.includes(network));
}

function ip(...words: readonly string[]): void {
  execFileSync("ip", words, { stdio: ["ignore", "ignore", "pipe"] });
}

function inside(...words: readonly string[]): void {
  ip("netns", "exec", name, ...words);
}

/** A network namespace with a pair of virtual cards; a text says why there is none, to skip the test with. */
export function otherHost(): OtherHost | string {
  if (process.getuid?.() !== 0) return "needs root: only root makes network namespaces";
  const network = freeNetwork();
  if (network === undefined) return `each of the networks ${networks.join(", ")} is in use on this machine`;
  const [address, other] = [`${network}.1`, `${network}.2`];
  try {
    ip("netns", "add", name);
  } catch (error) {
    return `this machine makes no network namespaces (ip netns add): ${firstLine(error)}`;
  }
  let isThere = true;
  const remove = () => {
    if (isThere) ip("netns", "del", name); // the cards go with it
    isThere = false;
  };
  after(remove);
  process.once("exit", remove);
  try {
    ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", name);
    ip("address", "add", `${address}/30`, "dev", here);
    ip("link", "set", here, "up");
    inside("ip", "address", "add", `${other}/30`, "dev", there);
    inside("ip", "link", "set", there, "up");
    inside("nft", "add", "table", "inet", "cable");
  } catch (error) {
    return `this machine joins no network namespaces (veth, nft): ${firstLine(error)}`;
  }
  return {
    address,
    command: ["ip", "netns", "exec", name],
    cut: () => {
      for (const hook of ["input", "output"]) {
        inside("nft", "add", "chain", "inet", "cable", hook, `{ type filter hook ${hook} priority 0; policy drop; }`);
      }
    },
    mend: () => inside("nft", "delete", "table", "inet", "cable"),
  };
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split("\n").slice(0, 2).join(" ");
}
