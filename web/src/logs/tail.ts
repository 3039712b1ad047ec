/** The newest lines of many runs; older ones fall out. While paused, new lines wait aside. */
export class Tail<T> {
  items: T[] = [];
  /** How many fell out: `dropped + index` names an item for good. */
  dropped = 0;
  version = 0;
  private aside: T[] = [];
  private asideLost = 0;
  private isPaused = false;
  private listeners = new Set<() => void>();

  constructor(private readonly capacity: number) {}

  push(added: readonly T[]): void {
    if (!added.length) return;
    if (this.isPaused) {
      this.aside.push(...added);
      this.asideLost += trim(this.aside, this.capacity);
    } else {
      this.append(added);
    }
    this.changed();
  }

  get paused(): boolean {
    return this.isPaused;
  }

  /** How many lines came while paused. */
  get waiting(): number {
    return this.aside.length + this.asideLost;
  }

  pause(paused: boolean): void {
    if (paused === this.isPaused) return;
    this.isPaused = paused;
    if (!paused) {
      this.append(this.aside);
      this.aside = [];
      this.asideLost = 0;
    }
    this.changed();
  }

  clear(): void {
    this.dropped += this.items.length;
    this.items = [];
    this.aside = [];
    this.asideLost = 0;
    this.changed();
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  snapshot = (): number => this.version;

  private append(added: readonly T[]): void {
    this.items.push(...added);
    this.dropped += trim(this.items, this.capacity);
  }

  private changed(): void {
    this.version += 1;
    for (const listener of this.listeners) listener();
  }
}

/** Cuts at a tenth above the capacity, so that a busy stream does not move the array for each line. */
function trim(items: unknown[], capacity: number): number {
  if (items.length <= capacity * 1.1) return 0;
  return items.splice(0, items.length - capacity).length;
}
