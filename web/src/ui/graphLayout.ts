/** A layered drawing of a directed graph: what leads to something is left of it. Pure. */

export interface Ends {
  source: string;
  target: string;
}

export interface Spot {
  id: string;
  x: number;
  y: number;
}

export interface Line extends Ends {
  /** An SVG path from the right side of `source` to the left side of `target`. */
  path: string;
  /** Against the order of the layers: it closes a cycle. */
  back: boolean;
}

export interface Drawing {
  spots: Spot[];
  lines: Line[];
  width: number;
  height: number;
}

export const BOX = { width: 188, height: 50 };
const GAP = { x: 64, y: 14 };
const MARGIN = 12;
const SWEEPS = 4;

export function drawing(ids: readonly string[], edges: readonly Ends[]): Drawing {
  if (!ids.length) return { spots: [], lines: [], width: 0, height: 0 };
  const known = new Set(ids);
  const mine = edges.filter((edge) => known.has(edge.source) && known.has(edge.target));
  const back = backEdges(ids, mine);
  const layers = layered(
    ids,
    mine.filter((edge) => !back.has(edge)),
  );
  arrange(layers, mine);
  const tallest = Math.max(0, ...layers.map((layer) => layer.length));
  const height = tallest * (BOX.height + GAP.y) - GAP.y + 2 * MARGIN;
  const spots = layers.flatMap((layer, column) => {
    const top = (height - (layer.length * (BOX.height + GAP.y) - GAP.y)) / 2;
    return layer.map((id, row) => ({
      id,
      x: MARGIN + column * (BOX.width + GAP.x),
      y: top + row * (BOX.height + GAP.y),
    }));
  });
  const at = new Map(spots.map((spot) => [spot.id, spot]));
  const lines = mine.map((edge) => ({
    source: edge.source,
    target: edge.target,
    path: pathOf(at.get(edge.source) as Spot, at.get(edge.target) as Spot),
    back: back.has(edge),
  }));
  const width = layers.length * (BOX.width + GAP.x) - GAP.x + 2 * MARGIN;
  return { spots, lines, width, height };
}

/** The edges that lead back to where a walk has come from; without them there is no cycle. */
function backEdges(ids: readonly string[], edges: readonly Ends[]): Set<Ends> {
  const out = groups(edges, (edge) => edge.source);
  const state = new Map<string, "open" | "done">();
  const back = new Set<Ends>();
  for (const start of ids) {
    if (state.has(start)) continue;
    const path: { id: string; left: Ends[] }[] = [{ id: start, left: [...(out.get(start) ?? [])] }];
    state.set(start, "open");
    while (path.length) {
      const here = path[path.length - 1] as { id: string; left: Ends[] };
      const edge = here.left.shift();
      if (!edge) {
        state.set(here.id, "done");
        path.pop();
      } else if (state.get(edge.target) === "open") {
        back.add(edge);
      } else if (!state.has(edge.target)) {
        state.set(edge.target, "open");
        path.push({ id: edge.target, left: [...(out.get(edge.target) ?? [])] });
      }
    }
  }
  return back;
}

/** Each as far right as the longest way to it is long; what nothing leads to is right before what it leads to. */
function layered(ids: readonly string[], edges: readonly Ends[]): string[][] {
  const into = groups(edges, (edge) => edge.target);
  const out = groups(edges, (edge) => edge.source);
  const depth = new Map<string, number>();
  const waiting = new Map(ids.map((id) => [id, into.get(id)?.length ?? 0]));
  const ready = ids.filter((id) => waiting.get(id) === 0);
  for (const id of ready) {
    const from = (into.get(id) ?? []).map((edge) => (depth.get(edge.source) ?? 0) + 1);
    depth.set(id, Math.max(0, ...from));
    for (const { target } of out.get(id) ?? []) {
      waiting.set(target, (waiting.get(target) ?? 0) - 1);
      if (waiting.get(target) === 0) ready.push(target);
    }
  }
  for (const id of ids) {
    const after = (out.get(id) ?? []).map((edge) => depth.get(edge.target) ?? 0);
    if (!into.get(id)?.length && after.length) depth.set(id, Math.max(0, Math.min(...after) - 1));
  }
  const layers: string[][] = [];
  for (const id of ids) {
    const number = depth.get(id) ?? 0;
    while (layers.length <= number) layers.push([]);
    layers[number]?.push(id);
  }
  return layers;
}

/** Orders each layer by where its neighbours are, so that few lines cross. */
function arrange(layers: string[][], edges: readonly Ends[]): void {
  const beside = new Map<string, string[]>();
  for (const { source, target } of edges) {
    beside.set(source, [...(beside.get(source) ?? []), target]);
    beside.set(target, [...(beside.get(target) ?? []), source]);
  }
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const place = new Map(
      layers.flatMap((layer) => layer.map((id, row) => [id, row / Math.max(1, layer.length - 1)] as const)),
    );
    for (const layer of sweep % 2 ? [...layers].reverse() : layers) {
      const wanted = new Map(
        layer.map((id) => {
          const rows = (beside.get(id) ?? []).map((other) => place.get(other) ?? 0);
          return [id, rows.length ? rows.reduce((sum, row) => sum + row, 0) / rows.length : (place.get(id) ?? 0)];
        }),
      );
      layer.sort((a, b) => (wanted.get(a) ?? 0) - (wanted.get(b) ?? 0));
      layer.forEach((id, row) => {
        place.set(id, row / Math.max(1, layer.length - 1));
      });
    }
  }
}

function groups(edges: readonly Ends[], by: (edge: Ends) => string): Map<string, Ends[]> {
  const found = new Map<string, Ends[]>();
  for (const edge of edges) {
    const some = found.get(by(edge));
    if (some) some.push(edge);
    else found.set(by(edge), [edge]);
  }
  return found;
}

function pathOf(source: Spot, target: Spot): string {
  const [x1, y1] = [source.x + BOX.width, source.y + BOX.height / 2];
  const [x2, y2] = [target.x - 3, target.y + BOX.height / 2];
  const bend = Math.max(28, Math.abs(x2 - x1) / 2);
  return `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`;
}
