import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import type { LineageGraph as Graph, LineageNode } from "../api/calls";
import { BOX, drawing } from "../ui/graphLayout";
import { Icon, type IconName } from "../ui/Icon";

const ICONS: Record<LineageNode["kind"], IconName> = {
  job: "box",
  topic: "topic",
  file: "file",
  web: "globe",
  state: "key",
  dataset: "server",
};
const KINDS: Record<LineageNode["kind"], string> = {
  job: "job",
  topic: "topic",
  file: "files",
  web: "web service",
  state: "State",
  dataset: "dataset",
};

interface Props {
  graph: Graph;
  chosen?: string | undefined;
  env?: string | undefined;
}

/** Jobs and what they read and write, from left to right. Each box is a link; the lines are for the eye. */
export function LineageGraph({ graph, chosen, env }: Props) {
  const { spots, lines, width, height } = useMemo(
    () =>
      drawing(
        graph.nodes.map((node) => node.id),
        graph.edges,
      ),
    [graph],
  );
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by the keyboard.
    <section className="graph" aria-label="The graph, from left to right" tabIndex={0}>
      <div className="graph-sheet" style={{ width, height }}>
        <svg width={width} height={height} aria-hidden="true">
          <defs>
            <marker id="arrow" viewBox="0 0 8 8" refX="6" refY="4" markerWidth="7" markerHeight="7" orient="auto">
              <path d="M0 0L8 4L0 8z" />
            </marker>
          </defs>
          {lines.map((line) => (
            <path
              key={`${line.source} ${line.target}`}
              d={line.path}
              markerEnd="url(#arrow)"
              className={classes(line.back && "back", touches(line, chosen) && "chosen")}
            />
          ))}
        </svg>
        {spots.map((spot) => {
          const node = nodes.get(spot.id) as LineageNode;
          return (
            <Link
              key={spot.id}
              to="/lineage"
              search={{ node: spot.id, env }}
              className={classes("graph-node", node.kind, spot.id === chosen && "chosen")}
              style={{ left: spot.x, top: spot.y, width: BOX.width, height: BOX.height }}
              aria-current={spot.id === chosen ? "true" : undefined}
              title={node.name}
            >
              <Icon name={ICONS[node.kind]} />
              <span>
                <span className="clamp">{node.name}</span>
                <span className="muted clamp">{under(node)}</span>
              </span>
            </Link>
          );
        })}
      </div>
    </section>
  );
}

export function kindName(node: LineageNode): string {
  return KINDS[node.kind];
}

export function aSecond(rate: number | null | undefined): string {
  if (!rate) return "";
  return rate >= 10 ? `${Math.round(rate)}/s` : rate >= 0.1 ? `${rate.toFixed(1)}/s` : `${(rate * 60).toFixed(1)}/min`;
}

function under(node: LineageNode): string {
  const facts = [
    node.kind === "job" ? node.versions?.[0] : kindName(node),
    node.env,
    aSecond(node.rate),
    node.lag ? `${node.lag} wait` : "",
  ];
  return facts.filter(Boolean).join(" · ");
}

function touches(line: { source: string; target: string }, id: string | undefined): boolean {
  return line.source === id || line.target === id;
}

function classes(...names: (string | false | undefined)[]): string {
  return names.filter(Boolean).join(" ");
}
