import { describe, expect, it } from "vitest";
import { Tail } from "./tail";

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

describe("the newest lines of all runs", () => {
  it("drops the oldest beyond its capacity and counts them", () => {
    const tail = new Tail<number>(100);
    tail.push(numbers(1, 250));
    expect(tail.items).toEqual(numbers(151, 250));
    expect(tail.dropped).toBe(150);
  });

  it("keeps new lines aside while paused, and shows them afterwards in order", () => {
    const tail = new Tail<number>(100);
    tail.push([1, 2]);
    tail.pause(true);
    tail.push([3]);
    tail.push([4]);
    expect(tail.items).toEqual([1, 2]);
    expect(tail.waiting).toBe(2);
    tail.pause(false);
    expect(tail.items).toEqual([1, 2, 3, 4]);
    expect(tail.waiting).toBe(0);
  });

  it("counts all that came in a long pause, though it keeps only the newest", () => {
    const tail = new Tail<number>(10);
    tail.pause(true);
    for (let n = 1; n <= 1000; n++) tail.push([n]);
    expect(tail.waiting).toBe(1000);
    tail.pause(false);
    expect(tail.items.at(-1)).toBe(1000);
    expect(tail.items.length).toBeLessThanOrEqual(11);
  });

  it("forgets what was shown, not how much there was", () => {
    const tail = new Tail<number>(10);
    tail.push([1, 2, 3]);
    tail.clear();
    expect(tail.items).toEqual([]);
    expect(tail.dropped).toBe(3);
  });
});
