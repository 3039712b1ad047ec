import { describe, expect, it } from "vitest";
import { BOX, drawing, type Ends } from "./graphLayout";

const edge = (source: string, target: string): Ends => ({ source, target });

describe("the layout of a graph", () => {
  it("puts what leads to something left of it, and a source right before what it leads to", () => {
    const ids = ["sensor", "raw", "daily", "late", "day"];
    const edges = [edge("sensor", "raw"), edge("raw", "daily"), edge("daily", "day"), edge("late", "day")];
    const { spots, lines } = drawing(ids, edges);
    const x = Object.fromEntries(spots.map((spot) => [spot.id, spot.x]));
    for (const { source, target } of edges) expect(x[source]).toBeLessThan(x[target] ?? 0);
    expect(x.late).toBe(x.daily);
    expect(lines.every((line) => !line.back)).toBe(true);
  });

  it("draws a cycle, one edge of it backwards", () => {
    const { spots, lines } = drawing(["a", "b", "c"], [edge("a", "b"), edge("b", "c"), edge("c", "a"), edge("b", "b")]);
    expect(spots).toHaveLength(3);
    expect(lines.filter((line) => line.back).map((line) => `${line.source}${line.target}`)).toEqual(["ca", "bb"]);
  });

  it("lets no two boxes overlap, and leaves none out, in a graph of 500", () => {
    const ids = Array.from({ length: 500 }, (_, number) => `n${number}`);
    const edges = ids.flatMap((id, number) => [edge(id, `n${(number * 7 + 3) % 500}`), edge(`n${number >> 1}`, id)]);
    const { spots, width, height } = drawing(ids, edges);
    expect(new Set(spots.map((spot) => spot.id)).size).toBe(500);
    const rows = new Map<number, number[]>();
    for (const { x, y } of spots) {
      expect(x >= 0 && x + BOX.width <= width && y >= 0 && y + BOX.height <= height).toBe(true);
      rows.set(x, [...(rows.get(x) ?? []), y]);
    }
    for (const ys of rows.values()) {
      ys.sort((a, b) => a - b);
      ys.slice(1).forEach((y, number) => {
        expect(y - (ys[number] ?? 0)).toBeGreaterThanOrEqual(BOX.height);
      });
    }
  });

  it("draws nothing of nothing, and leaves out an edge to what it does not know", () => {
    expect(drawing([], [])).toEqual({ spots: [], lines: [], width: 0, height: 0 });
    expect(drawing(["a"], [edge("a", "gone")]).lines).toEqual([]);
  });
});
