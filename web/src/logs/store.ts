/** A run's log in memory: pages by line number, any of which may be absent and is fetched when looked at. */

export interface Line {
  n: number;
  t: string;
  stream: "stdout" | "stderr" | "system";
  level?: string | null;
  text: string;
  grant?: number;
  /** So many bytes of a very long line are not here. */
  cut?: number;
  /** No line end has come yet: it comes again with more. */
  open?: boolean;
}

export const PAGE = 1000;
/** About 200,000 lines stay in memory; the rest is fetched again. */
const KEPT_PAGES = 200;

export class LogStore {
  /** The highest line number known to exist. */
  lastN = 0;
  /** Raised by every change: what React watches. */
  version = 0;
  private pages = new Map<number, (Line | undefined)[]>();
  /** Pages the api has answered up to their end: what is absent there is a gap. */
  private whole = new Set<number>();
  private waiting: ReadonlySet<number> = new Set();
  private listeners = new Set<() => void>();

  /** A line already held is replaced, so a repeat does no harm. */
  put(lines: readonly Line[]): void {
    for (const line of lines) {
      const number = pageOf(line.n);
      let page = this.pages.get(number);
      if (!page) {
        page = [];
        this.pages.set(number, page);
      }
      page[(line.n - 1) % PAGE] = line;
      if (line.n > this.lastN) this.lastN = line.n;
    }
    if (lines.length) this.changed();
  }

  /** The api's answer for a page; `lastN` is how far the log went when it answered. */
  putPage(number: number, lines: readonly Line[], lastN: number): void {
    if (lastN >= (number + 1) * PAGE) this.whole.add(number);
    this.put(lines);
    this.extend(lastN);
  }

  extend(lastN: number): void {
    if (lastN <= this.lastN) return;
    this.lastN = lastN;
    this.changed();
  }

  get(n: number): Line | undefined {
    return this.pages.get(pageOf(n))?.[(n - 1) % PAGE];
  }

  /** Whether line `n` was asked for and does not exist: a gap. */
  isGap(n: number): boolean {
    return this.whole.has(pageOf(n)) && this.get(n) === undefined;
  }

  /** The pages that must be fetched to show the lines from `first` to `last`. */
  missing(first: number, last: number): number[] {
    const found: number[] = [];
    const end = Math.min(last, this.lastN);
    for (let page = pageOf(Math.max(1, first)); page <= pageOf(end) && end > 0; page++) {
      if (this.whole.has(page) || this.waiting.has(page)) continue;
      const from = Math.max(first, page * PAGE + 1);
      for (let n = from; n <= Math.min(end, (page + 1) * PAGE); n++) {
        if (this.get(n)) continue;
        found.push(page);
        break;
      }
    }
    return found;
  }

  /** Marks pages as being fetched, so that they are asked for once. */
  expect(page: number, waiting: boolean): void {
    const next = new Set(this.waiting);
    if (waiting) next.add(page);
    else next.delete(page);
    this.waiting = next;
  }

  /** Lets go of the pages farthest from line `n`; the newest page stays, the stream writes there. */
  evict(n: number): void {
    const surplus = this.pages.size - KEPT_PAGES;
    if (surplus <= 0) return;
    const here = pageOf(n);
    const newest = pageOf(this.lastN);
    const far = [...this.pages.keys()].filter((page) => page !== newest);
    far.sort((a, b) => Math.abs(b - here) - Math.abs(a - here));
    for (const page of far.slice(0, surplus)) {
      this.pages.delete(page);
      this.whole.delete(page);
    }
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  snapshot = (): number => this.version;

  private changed(): void {
    this.version += 1;
    for (const listener of this.listeners) listener();
  }
}

function pageOf(n: number): number {
  return Math.floor((n - 1) / PAGE);
}
