// What differs between releases. openGauss 7.0.0-RC2 was recorded live; the rest is from its source (openGauss) or from
// Huawei's documentation (GaussDB, which is closed source).

export type Version = Readonly<{
  /** version() */
  text: string;
  /** opengauss_version(); null: there is no such function, nor working_version_num() and gs_deployment(). */
  openGauss: string | null;
  workingVersion: number;
  deployment: string;
  /** What ALTER SYSTEM KILL SESSION is made into. */
  killGrammar: KillGrammar;
  /** Functions of the newest release that this one lacks. */
  missing: readonly string[];
  /** pg_locks.locktag, and the last columns of pg_thread_wait_status. */
  lockTags: boolean;
  /** global_sessionid, trace_id, unique_sql_id. */
  globalIds: boolean;
  filter: boolean;
  lateral: boolean;
}>;

export type KillGrammar = "backend" | "session";

const newest: Version = {
  text:
    "(openGauss 7.0.0-RC2 build ) compiled at 2025-08-01 00:00:00 commit 0 last mr  release " +
    "on x86_64-unknown-linux-gnu, compiled by g++ (GCC) 10.3.0, 64-bit",
  openGauss: "7.0.0-RC2",
  workingVersion: 93_060,
  deployment: "OpenSourceCentralized",
  killGrammar: "session",
  missing: [],
  lockTags: true,
  globalIds: true,
  filter: true,
  lateral: true,
};

function release(number: string, workingVersion: number, more: Partial<Version> = {}): Version {
  const text = newest.text.replace("7.0.0-RC2", number);
  return { ...newest, text, openGauss: number, workingVersion, lateral: false, ...more };
}

const old = { killGrammar: "backend", filter: false } as const;
const ancient = { ...old, openGauss: null, globalIds: false } as const;
const gaussdb = { workingVersion: 93_000, deployment: "BusinessCentralized", lateral: false, filter: false };

export const versions = {
  "openGauss 7.0.0": newest,
  "openGauss 6.0.0": release("6.0.0", 92_974),
  "openGauss 5.0.0": release("5.0.0", 92_866, old),
  "openGauss 2.0.0": release("2.0.0", 92_301, {
    ...ancient,
    text: "PostgreSQL 9.2.4 (openGauss 2.0.0 build 78689da9) compiled at 2021-03-31 21:04:03 commit 0 last mr   on x86_64-unknown-linux-gnu",
    missing: ["pg_cancel_session"],
  }),
  "openGauss 1.0.1": release("1.0.1", 92_232, {
    ...ancient,
    text: "PostgreSQL 9.2.4 (openGauss 1.0.1 build 13b34b53) compiled at 2020-10-12 02:00:59 commit 0 last mr   on x86_64-unknown-linux-gnu",
    missing: ["pg_cancel_session", "pg_terminate_session"],
    lockTags: false,
  }),
  "GaussDB 505": {
    ...newest,
    ...gaussdb,
    text: "gaussdb (GaussDB Kernel 505.2.1.SPC0600 build 2aa20d4e) compiled at 2025-03-04 10:11:12 commit 10250 last mr 21503 release",
    openGauss: "5.1.0",
  },
  "GaussDB 503": {
    ...newest,
    ...gaussdb,
    text: "gaussdb (GaussDB Kernel 503.1.0.SPC1700 build 8cc0a4f2) compiled at 2023-09-18 20:00:01 commit 5210 last mr 9021 release",
    openGauss: "3.0.0",
    killGrammar: "backend",
  },
} satisfies Record<string, Version>;

export type VersionName = keyof typeof versions;
