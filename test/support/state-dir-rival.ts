import { createServer } from "node:net";
import { join } from "node:path";
import { ownStateDir, type StateDir } from "../../src/state-dir.ts";

// A child process that takes, frees and litters state folders as its parent says.
type Word = Readonly<{ take: string } | { litter: string } | { free: true }>;

let owned: StateDir | null = null;

async function obey(word: Word): Promise<unknown> {
  if ("litter" in word) {
    await new Promise<void>((resolve) => {
      createServer().listen(join(word.litter, "control.sock"), resolve);
    });
    return "littered";
  }
  if ("free" in word) {
    await owned?.close();
    owned = null;
    return "freed";
  }
  const result = await ownStateDir(word.take);
  if (result.kind === "owned") owned = result;
  return result.kind;
}

process.on("message", (word) => {
  obey(word as Word).then(
    (said) => process.send?.({ said }),
    (error: unknown) => process.send?.({ said: String(error) }),
  );
});
process.send?.({ said: "ready" });
