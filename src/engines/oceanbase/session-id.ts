const largest = 4_294_967_295n;

/**
 * A session id that may stand in a statement. The server takes the digits, lets whatever follows them pass and wraps what is
 * too large: junk means session 0, and 4294967296 + 7 means session 7.
 */
export function isSessionId(text: string): boolean {
  return /^[1-9]\d{0,9}$/.test(text) && BigInt(text) <= largest;
}

/** The digits of a transaction, table or session that the server names; 0, nothing and anything else are none. */
export function readId(text: string | null | undefined): string | null {
  return text !== null && text !== undefined && /^[1-9]\d{0,19}$/.test(text) ? text : null;
}
