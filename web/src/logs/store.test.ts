import { describe, expect, it } from "vitest";
import { type Line, LogStore, PAGE } from "./store";

function lines(from: number, to: number, text = "text"): Line[] {
  return Array.from({ length: to - from + 1 }, (_, index) => ({
    n: from + index,
    t: "2026-11-21T10:00:00Z",
    stream: "stdout",
    text: `${text} ${from + index}`,
  }));
}

describe("a run's log", () => {
  it("knows a line by its number, and the last one", () => {
    const store = new LogStore();
    store.put(lines(1, 1500));
    expect(store.get(1)?.text).toBe("text 1");
    expect(store.get(1500)?.text).toBe("text 1500");
    expect(store.get(1501)).toBeUndefined();
    expect(store.lastN).toBe(1500);
  });

  it("holds a line once, however often it comes, and takes the newer text", () => {
    const store = new LogStore();
    store.put(lines(1, 3));
    store.put(lines(2, 4, "whole"));
    expect([1, 2, 3, 4].map((n) => store.get(n)?.text)).toEqual(["text 1", "whole 2", "whole 3", "whole 4"]);
    expect(store.lastN).toBe(4);
  });

  it("asks only for pages with absent lines in sight", () => {
    const store = new LogStore();
    store.extend(10 * PAGE);
    store.put(lines(9 * PAGE + 1, 10 * PAGE));
    expect(store.missing(9 * PAGE + 1, 10 * PAGE)).toEqual([]);
    expect(store.missing(8 * PAGE - 5, 8 * PAGE + 5)).toEqual([7, 8]);
    expect(store.missing(1, 40)).toEqual([0]);
  });

  it("asks for a page once while it is on its way", () => {
    const store = new LogStore();
    store.extend(2 * PAGE);
    store.expect(0, true);
    expect(store.missing(1, 10)).toEqual([]);
    store.expect(0, false);
    expect(store.missing(1, 10)).toEqual([0]);
  });

  it("asks for nothing beyond the end, or of an empty log", () => {
    const store = new LogStore();
    expect(store.missing(1, 50)).toEqual([]);
    store.put(lines(1, 10));
    expect(store.missing(1, 500)).toEqual([]);
  });

  it("calls absent lines of a page that was answered whole a gap, and does not ask again", () => {
    const store = new LogStore();
    const page = lines(1, PAGE).filter((line) => line.n !== 7);
    store.putPage(0, page, 3 * PAGE);
    expect(store.isGap(7)).toBe(true);
    expect(store.isGap(8)).toBe(false);
    expect(store.missing(1, PAGE)).toEqual([]);
  });

  it("asks again for a page that was answered while the log still grew in it", () => {
    const store = new LogStore();
    store.putPage(0, lines(1, 10), 10);
    store.extend(20);
    expect(store.isGap(15)).toBe(false);
    expect(store.missing(1, 20)).toEqual([0]);
  });

  it("lets go of what is far away, never of the newest page", () => {
    const store = new LogStore();
    for (let page = 0; page < 230; page++) store.putPage(page, lines(page * PAGE + 1, (page + 1) * PAGE), 230 * PAGE);
    store.evict(1);
    expect(store.get(1)).toBeDefined();
    expect(store.get(230 * PAGE)).toBeDefined();
    expect(store.get(215 * PAGE)).toBeUndefined();
    expect(store.isGap(215 * PAGE)).toBe(false);
    expect(store.missing(215 * PAGE, 215 * PAGE)).toEqual([214]);
  });

  it("tells of each change", () => {
    const store = new LogStore();
    let told = 0;
    const stop = store.subscribe(() => {
      told += 1;
    });
    store.put(lines(1, 2));
    store.put([]);
    store.extend(1);
    store.extend(5);
    stop();
    store.extend(6);
    expect(told).toBe(2);
  });
});
