export type Expanded = Readonly<{ kind: "ok"; text: string }> | Readonly<{ kind: "bad"; text: string }>;

/** Puts environment variables for `${NAME}`; `$${` is a literal `${`. What a variable holds is not looked into again. */
export function expandEnvironment(text: string, env: NodeJS.ProcessEnv): Expanded {
  const unset: string[] = [];
  let malformed = false;
  const expanded = text.replace(/\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$\{/gu, (whole, name: string | undefined) => {
    if (whole === "$${") return "${";
    if (name === undefined) {
      malformed = true;
      return whole;
    }
    const value = env[name];
    if (value === undefined) unset.push(name);
    return value ?? "";
  });
  if (malformed)
    return {
      kind: "bad",
      text: "expected ${NAME} of an environment variable, or $${ for a literal ${, got another ${",
    };
  if (unset.length === 0) return { kind: "ok", text: expanded };
  return {
    kind: "bad",
    text: `expected the environment variable ${[...new Set(unset)].join(", ")} to be set, got nothing`,
  };
}
