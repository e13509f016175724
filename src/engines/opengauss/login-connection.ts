import type { Duplex } from "node:stream";
import pg from "pg";
import { LinkLost } from "../engine.ts";
import { loginFilter, type Step } from "./authentication.ts";
import { answer, type Challenge } from "./sha256.ts";

/** What this relies on of the driver beside its types; test/engines/opengauss-login.test.ts holds its version to it. */
declare class DriverConnection extends pg.Connection {
  /** Called with the socket, and again with the TLS stream when there is one. It listens to `data` and `end`. */
  attachListeners(stream: unknown): void;
  /** Sends one password message. */
  password(text: string): void;
}
const Base = pg.Connection as unknown as typeof DriverConnection;

/** Asked only when the server wants one. */
type ReadPassword = () => Promise<string>;

/** The driver's connection, which can also log in by openGauss's sha256. To be given to a client as its `connection`. */
class LoginConnection extends Base {
  readonly #read: ReadPassword;

  constructor(config: pg.ConnectionConfig, read: ReadPassword) {
    super(config);
    this.#read = read;
  }

  override attachListeners(stream: Duplex): void {
    super.attachListeners(filtered(stream, (step) => this.#take(step)));
  }

  #take(step: Exclude<Step, { bytes: Buffer }>): void {
    if (step.kind === "refused") this.emit("error", step.error);
    else this.#prove(step.challenge).catch((error: unknown) => this.emit("error", error));
  }

  async #prove(challenge: Challenge): Promise<void> {
    const answered = await answer(await this.#read(), challenge);
    if (answered.kind === "mismatch") throw mismatch(answered.tried);
    this.password(answered.text);
  }
}

export function loginConnection(config: pg.ConnectionConfig, read: ReadPassword): pg.Connection {
  return new LoginConnection(config, read);
}

type Listen = (event: string, listener: (chunk: Buffer) => void) => unknown;

/** What the driver listens to instead of the stream itself. */
function filtered(stream: Duplex, take: (step: Exclude<Step, { bytes: Buffer }>) => void): Readonly<{ on: Listen }> {
  return {
    on: (event, listener) => {
      if (event !== "data") return stream.on(event, listener);
      const filter = loginFilter();
      const onData = (chunk: Buffer) => {
        for (const step of filter(chunk)) {
          if (step.kind !== "pass" && step.kind !== "over") {
            take(step);
            continue;
          }
          if (step.kind === "over") {
            stream.off("data", onData);
            stream.on("data", listener);
          }
          listener(step.bytes);
        }
      };
      return stream.on("data", onData);
    },
  };
}

/** Nothing was sent, so the server counts no failed login; it is told as a wrong password, which it nearly always is. */
function mismatch(tried: readonly number[]): LinkLost {
  const counts = tried.toSorted((one, other) => one - other);
  return new LinkLost(
    "denied",
    "the password is not the one by which the server made its sha256 challenge, so no answer was sent",
    {
      hint:
        "check the password and the role's name; if both are right, the server counts its iterations in a way that Lockwarden does not try " +
        `(auth_iteration_count; tried: ${counts.join(", ")}), or another server answers there`,
      wrongPassword: true,
    },
  );
}
