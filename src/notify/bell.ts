/** Lets one waiter sleep until somebody rings, or for so long. A ring while nobody waits is remembered. */
export type Bell = Readonly<{ ring(): void; wait(ms: number | null): Promise<void> }>;

export function bell(): Bell {
  let rung = false;
  let wake: (() => void) | null = null;
  return {
    ring() {
      if (wake === null) rung = true;
      else wake();
    },
    wait(ms) {
      if (rung) {
        rung = false;
        return Promise.resolve();
      }
      return new Promise((resolve) => {
        const timer = ms === null ? null : setTimeout(done, ms);
        function done(): void {
          if (timer !== null) clearTimeout(timer);
          wake = null;
          resolve();
        }
        wake = done;
      });
    },
  };
}
