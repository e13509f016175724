import { z } from "zod";
import { durationPattern, parseDuration } from "./duration.ts";
import { addressMistake, globMistake, mailAddressMistake, timeZoneMistake } from "./patterns.ts";

// The forms of which the schema is made: how a value is written, what it becomes, and what is said of a wrong one.

/** As PostgreSQL counts them. */
const sizeUnits: Readonly<Record<string, number>> = { kB: 1024, MB: 1024 ** 2, GB: 1024 ** 3 };

const durationForm = "a duration such as 30s";
export const duration = z
  .string({ error: durationForm })
  .regex(durationPattern, { error: durationForm, abort: true })
  .transform((written, context) => {
    const ms = parseDuration(written);
    if (ms !== null) return ms;
    context.issues.push({ code: "custom", input: written, message: "a duration from 1ms to ten years" });
    return z.NEVER;
  })
  .meta({ title: "duration" });

const sizeForm = "a size such as 64MB";
export const size = z
  .string({ error: sizeForm })
  .regex(/^\d{1,6}(?:kB|MB|GB)$/, { error: sizeForm, abort: true })
  .transform((written) => Number.parseInt(written, 10) * (sizeUnits[written.slice(-2)] ?? 1))
  .meta({ title: "size" });

const nameForm = "a name of up to 63 letters, digits, '.', '_' or '-'";
export const name = z
  .string({ error: nameForm })
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/, { error: nameForm })
  .meta({ title: "name" });

export const text = z.string({ error: "a text" }).min(1, { error: "a text that is not empty" });

/** A text whose form a pure function judges: null is fine, else what is wrong with it. */
export function textOf(form: string, wrong: (written: string) => string | null) {
  return text.superRefine((written, context) => {
    const reason = written === "" ? null : wrong(written);
    if (reason !== null) context.addIssue({ code: "custom", message: `${form} (${reason})` });
  });
}

export function whole(least: number, most: number) {
  const error = `a whole number from ${least} to ${most}`;
  return z.int({ error }).min(least, { error }).max(most, { error }).meta({ title: "whole number" });
}

/** One value or a list of values; an empty list is a mistake, as it could only mean nobody or everybody. */
export function some<T extends z.ZodType>(item: T) {
  return z.union([item.transform((one) => [one]), z.array(item).min(1, { error: "a list with at least one entry" })]);
}

export const globs = some(textOf("a text in which * and ? are wild", globMistake).meta({ title: "glob" }));
export const addresses = some(
  textOf("a CIDR such as 10.0.0.0/8, an IP address, or local", addressMistake).meta({ title: "address" }),
);
const tableForm = "schema.table or database.schema.table; * and ? are wild";
export const tables = some(
  z
    .string({ error: tableForm })
    .regex(/^(?:[^.\s]+\.)?[^.\s]+\.[^.\s]+$/, { error: tableForm })
    .meta({ title: "table" }),
);

export const timeZone = textOf("a time zone such as Europe/Berlin", timeZoneMistake).meta({ title: "time zone" });

/** A text that a pure function reads; null is none of that form. */
export function readAs<T>(form: string, pattern: RegExp, read: (written: string) => T | null) {
  return z
    .string({ error: form })
    .regex(pattern, { error: form, abort: true })
    .transform((written, context) => {
      const value = read(written);
      if (value !== null) return value;
      context.issues.push({ code: "custom", input: written, message: form });
      return z.NEVER;
    });
}

export const mailAddress = textOf("a mail address such as dba@example.org", mailAddressMistake).meta({
  title: "mail address",
});
