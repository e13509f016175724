import { spokenDuration } from "../core/spoken-duration.ts";
import type { Person, Scene } from "./scene.ts";
import type { Frame, Line, Style } from "./screen.ts";

/** One person's attempt to log in. */
export type Attempt = Readonly<{
  application: string;
  /** Who tries, in words. */
  who: string;
  state: "waiting" | "in" | "failed";
  /** How long it took, or has been taking. */
  ms: number;
}>;

/** What the daemon answered when it was asked about the root. */
export type Verdict = Readonly<{ kind: "wait"; leftMs: number } | { kind: "other"; text: string }>;

export type View = Readonly<{
  scene: Scene;
  attempts: readonly Attempt[];
  rule: string;
  verdict: Verdict | null;
}>;

/** As wide as `reporting`; branches take two of it. */
const nameWidth = 9;
const barWidth = 20;

/** What a terminal shows while everybody waits. */
export function waitingFrame(view: View): Frame {
  const { scene, rule } = view;
  const { root, waiting } = scene;
  const lines: Line[] = [
    [{ style: "bold", text: "Who blocks whom, as the server shows it" }],
    ...(root === null ? [["  nobody waits for a lock"]] : treeLines(root, waiting, view.attempts)),
    ...scene.harmless.map((person): Line => [harmlessText(person), "blocks nobody"]),
    [{ style: "bold", text: `${rule}: ` }, { style: "cyan", text: verdictText(view.verdict, root) }, ...bar(view)],
  ];
  return { lines, brief: briefText(view), key: waiting.map(({ pid }) => pid).join(" ") };
}

function treeLines(root: Person, waiting: readonly Person[], attempts: readonly Attempt[]): Line[] {
  return [
    [
      { style: "red", text: `  ${root.application.padEnd(nameWidth)}` },
      ` pid ${root.pid}, ${root.state} for ${seconds(root.stateMs)}, holds the row`,
    ],
    ...waiting.map((person, index): Line => {
      const who = attempts.find(({ application }) => application === person.application)?.who ?? "";
      const waits = `waits ${seconds(person.stateMs)} for ${person.table ?? "a row"}`;
      return [
        branch(index === waiting.length - 1),
        { style: "yellow", text: `${person.application.padEnd(nameWidth - 2)} ${waits}` },
        { style: "dim", text: `  ${who}` },
      ];
    }),
  ];
}

function branch(last: boolean): string {
  return last ? "  └─ " : "  ├─ ";
}

function harmlessText({ application, pid, state, stateMs }: Person): string {
  return `  ${application.padEnd(nameWidth)} pid ${pid}, ${state} for ${seconds(stateMs)}, `;
}

function verdictText(verdict: Verdict | null, root: Person | null): string {
  if (root === null || verdict === null) return "watches";
  if (verdict.kind === "other") return verdict.text;
  return verdict.leftMs > 0 ? `terminate ${root.application} in ${seconds(verdict.leftMs)}` : "terminate now";
}

/** How much of the waiting is over, by the root's age and by what the daemon says is left. */
function bar({ verdict, scene: { root } }: View): Line {
  if (verdict?.kind !== "wait" || root === null) return [];
  const left = Math.max(0, verdict.leftMs);
  const done = Math.round((barWidth * root.stateMs) / (root.stateMs + left));
  return ["  ", { style: "cyan", text: "█".repeat(done) }, { style: "dim", text: "░".repeat(barWidth - done) }];
}

function briefText({ scene: { root, waiting }, rule, verdict }: View): string {
  if (root === null) return "nobody waits for a lock";
  const behind = waiting.map(({ application, stateMs }) => `${application} ${seconds(stateMs)}`).join(", ");
  const table = waiting.find((person) => person.table !== null)?.table ?? "a row";
  return (
    `${root.application} (pid ${root.pid}, ${root.state} for ${seconds(root.stateMs)}) ` +
    `blocks on ${table}: ${behind}; ${rule}: ${verdictText(verdict, root)}`
  );
}

/** How it ended for each of them. */
export function endLines(blocker: Pick<Person, "application" | "pid">, view: View): Line[] {
  return [
    [{ style: "bold", text: "Now nobody blocks anybody" }],
    [
      { style: "red", text: `  ${blocker.application.padEnd(nameWidth)}` },
      ` pid ${blocker.pid}, terminated by Lockwarden and rolled back`,
    ],
    ...view.attempts.map((attempt, index): Line => {
      const { style, text } = ending(attempt);
      return [
        branch(index === view.attempts.length - 1),
        { style, text: `${attempt.application.padEnd(nameWidth - 2)} ${text}` },
        { style: "dim", text: `  ${attempt.who}` },
      ];
    }),
    ...view.scene.harmless.map((person): Line => [harmlessText(person), { style: "green", text: "left alone" }]),
  ];
}

function ending({ state, ms }: Attempt): { style: Style; text: string } {
  if (state === "in") return { style: "green", text: `logged in after ${seconds(ms)}` };
  return {
    style: "red",
    text: state === "failed" ? `failed after ${seconds(ms)}` : `still waits after ${seconds(ms)}`,
  };
}

/** With a tenth, up to a minute: `4.2 s`. */
export function seconds(ms: number): string {
  return ms < 60_000 ? `${(Math.max(0, ms) / 1_000).toFixed(1)} s` : spokenDuration(ms);
}
