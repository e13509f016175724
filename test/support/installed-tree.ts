import { existsSync } from "node:fs";
import { chmod, cp, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { project } from "./demo-run.ts";

/** What an installation holds: the built program and its production packages, in a folder that nobody may write to. */
export async function installedTree(t: TestContext, wanted: (packageName: string) => boolean): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), "lockwarden-tree-"));
  t.after(async () => {
    await setWritable(root, true);
    await rm(root, { recursive: true, force: true });
  });
  await cp(join(project, "dist", "src"), join(root, "dist", "src"), { recursive: true });
  await cp(join(project, "package.json"), join(root, "package.json"));
  const lock = JSON.parse(await readFile(join(project, "package-lock.json"), "utf8")) as {
    packages: Record<string, { dev?: boolean }>;
  };
  for (const [path, { dev }] of Object.entries(lock.packages)) {
    const isWanted = path !== "" && dev !== true && wanted(path.replace("node_modules/", ""));
    if (isWanted && existsSync(join(project, path))) {
      await cp(join(project, path), join(root, path), { recursive: true, verbatimSymlinks: true });
    }
  }
  await setWritable(root, false);
  return root;
}

async function setWritable(root: string, writable: boolean): Promise<void> {
  const mode = writable ? 0o755 : 0o555;
  await chmod(root, mode);
  for (const entry of await readdir(root, { withFileTypes: true, recursive: true })) {
    if (entry.isSymbolicLink()) continue;
    const executable = entry.isDirectory() || entry.parentPath.endsWith("/bin");
    await chmod(join(entry.parentPath, entry.name), executable ? mode : mode & 0o666);
  }
}
