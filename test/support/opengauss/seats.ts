// Who sits where: the session ids and thread ids that the front shows. Thread pool off: every session is a thread of its
// own, pid = session id = its address, and the next thread gets the address of the one that ended last. On: session ids
// count up, and a session has a thread (a pid) only while it works or is in a transaction; the one that a session leaves
// is the first to be taken again.

export type Seat = {
  readonly sessionId: number;
  /** 0: it has no thread just now. */
  pid: number;
  /** Process of the PostgreSQL session behind; 0: not known yet. */
  backendPid: number;
  /** Port of our end of the connection to it. */
  backendPort: number;
  readonly clientPort: number;
};

export type Seats = Readonly<{
  open(clientPort: number): Seat;
  /** The session behind it is there. */
  seat(seat: Seat, backend: Readonly<{ pid?: number; port?: number }>): void;
  /** A session begins to work. */
  attach(seat: Seat): void;
  /** It has nothing to do. */
  detach(seat: Seat): void;
  close(seat: Seat): void;
  recycle(on: boolean): void;
  all(): readonly Seat[];
  idleWorkers(): readonly number[];
  /** Grows with every change. */
  revision(): number;
}>;

const stackBytes = 16_781_312;
const firstThread = 140_023_835_895_488;
const firstWorker = 139_942_466_406_080;

export function seats(threadPool: boolean, workers: number): Seats {
  const taken = new Set<Seat>();
  const idle = threadPool ? Array.from({ length: workers }, (_, at) => firstWorker + stackBytes * at) : [];
  const ended: number[] = [];
  let recycling = true;
  let made = 0;
  let revision = 0;
  const address = (): number => (recycling ? ended.pop() : undefined) ?? firstThread - stackBytes * made++;
  return {
    open: (clientPort) => {
      const sessionId = threadPool ? ++made : address();
      const seat = {
        sessionId,
        pid: threadPool ? 0 : sessionId,
        backendPid: 0,
        backendPort: 0,
        clientPort,
      };
      taken.add(seat);
      revision++;
      return seat;
    },
    seat: (seat, { pid = seat.backendPid, port = seat.backendPort }) => {
      seat.backendPid = pid;
      seat.backendPort = port;
      revision++;
    },
    attach: (seat) => {
      if (seat.pid !== 0) return;
      // A real pool lets the session wait for a free thread; here it grows.
      seat.pid = idle.pop() ?? firstWorker + stackBytes * workers++;
      revision++;
    },
    detach: (seat) => {
      if (!threadPool || seat.pid === 0) return;
      idle.push(seat.pid);
      seat.pid = 0;
      revision++;
    },
    close: (seat) => {
      if (!taken.delete(seat)) return;
      if (threadPool && seat.pid !== 0) idle.push(seat.pid);
      if (!threadPool) ended.push(seat.pid);
      revision++;
    },
    recycle: (on) => (recycling = on),
    all: () => [...taken],
    idleWorkers: () => idle,
    revision: () => revision,
  };
}
