/** A positive number from the environment, or what stands for it. */
export function numberFrom(name: string, otherwise: number): number {
  const text = process.env[name];
  const value = text === undefined || text === "" ? otherwise : Number(text);
  if (value > 0) return value;
  throw new Error(`${name}: expected a positive number, got ${text}`);
}

/** The newest of PGVERSIONS=14,18; left out: 18. */
export function newestMajor(): number {
  const majors = (process.env["PGVERSIONS"] || "18").split(",").map(Number);
  const newest = Math.max(...majors);
  if (newest > 0) return newest;
  throw new Error(`PGVERSIONS: expected majors such as 14,18, got ${process.env["PGVERSIONS"]}`);
}
