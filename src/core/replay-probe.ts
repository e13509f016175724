import type { Judgement, Opinion } from "./recorded-look.ts";
import type { CompiledRule } from "./rules.ts";

// A replay asks no server: what a probe said then is on record, or nobody knows.

/** What a trial knows of probes. */
export type ProbeTrial = Readonly<{
  rules: readonly CompiledRule[];
  /** Whether a daemon under the config of this digest asked this rule's very probe: only then its answers count. */
  sameProbe(config: string, rule: string): boolean;
}>;

/** `unprobed`: it acts, though its rule has a probe and no answer is on record. */
export type ThroughProbe = Readonly<{ opinion: Opinion; unprobed: boolean }>;

/** What a trial would do, once the recorded answer of the rule's probe is heard. */
export function throughProbe(opinion: Opinion, judgement: Judgement | null, trial: ProbeTrial): ThroughProbe {
  const { rule, subject, kind, action } = opinion;
  const asks = trial.rules.some((one) => one.rule.name === rule && one.rule.probe !== undefined);
  if (kind !== "act" || action === "notify" || !asks) return { opinion, unprobed: false };
  const heard = judgement !== null && trial.sameProbe(judgement.config, rule) ? judgement.opinions : [];
  const answer = heard.find((one) => one.rule === rule && one.subject === subject);
  if (answer?.kind === "spare" && answer.by === "probe")
    return {
      opinion: { ...opinion, kind: "spare", by: "probe", code: answer.code, text: answer.text },
      unprobed: false,
    };
  // Whoever was acted on had a probe that was stuck.
  return { opinion, unprobed: answer?.kind !== "act" };
}
