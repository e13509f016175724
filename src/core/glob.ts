/** A test for text: `*` stands for any characters, `?` for one; everything else for itself, case included. Never backtracks further than the last `*`. */
export function glob(pattern: string): (text: string) => boolean {
  if (!/[*?]/.test(pattern)) return (text) => text === pattern;
  return (text) => matches(pattern, text);
}

/** True when any of the patterns matches. */
export function anyGlob(patterns: readonly string[]): (text: string) => boolean {
  const tests = patterns.map(glob);
  return (text) => tests.some((test) => test(text));
}

function matches(pattern: string, text: string): boolean {
  let at = 0;
  let here = 0;
  let star = -1;
  let resume = 0;
  while (at < text.length) {
    if (here < pattern.length && pattern[here] === "*") {
      star = here++;
      resume = at;
    } else if (here < pattern.length && (pattern[here] === "?" || pattern[here] === text[at])) {
      here++;
      at++;
    } else if (star >= 0) {
      here = star + 1;
      at = ++resume;
    } else {
      return false;
    }
  }
  while (pattern[here] === "*") here++;
  return here === pattern.length;
}
