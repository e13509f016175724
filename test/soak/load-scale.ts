/** How many rows each table of the load has. */
export const scale = { branches: 20, tellers: 200, accounts: 20_000 } as const;

export type Load = Readonly<{
  url: string;
  clients: number;
  /** How many rows people log in by: few rows are wanted often. */
  logins: number;
  /** These go on without a rest once they are told to race. */
  racers: number;
  restMs: number;
}>;
export type Word = "count" | "race";
/** `at`: this process's own clock, in ms. `errors`: each of them is a client that somebody or something disturbed. */
export type Count = Readonly<{
  at: number;
  transactions: number;
  logins: number;
  longestLoginMs: number;
  errors: string[];
}>;
