import { Fragment, memo, type ReactNode } from "react";
import { bytes, clock, lineTime, utc } from "../ui/time";
import { ansiPieces, plainText } from "./ansi";
import { findAll } from "./filter";
import type { Line } from "./store";

/** Longer lines are cut here on the screen; the download has them whole. */
const SHOWN_CHARS = 4000;

interface LogRowProps {
  line: Line;
  q: string | undefined;
  showTime: boolean;
  marked?: boolean;
  onPick?: ((n: number) => void) | undefined;
  origin?: ReactNode;
}

export const LogRow = memo(function LogRow({ line, q, showTime, marked, onPick, origin }: LogRowProps) {
  const level = line.level?.toLowerCase() ?? "";
  return (
    <div className={`log-row stream-${line.stream} level-${level} ${marked ? "marked" : ""}`} data-n={line.n}>
      {onPick && (
        <button
          type="button"
          className="log-n"
          tabIndex={-1}
          onClick={() => onPick(line.n)}
          title={`Line ${line.n}: show it among its neighbours`}
        >
          {line.n}
        </button>
      )}
      {showTime && (
        <time className="log-t" dateTime={line.t} title={`${clock(new Date(line.t))} · ${utc(new Date(line.t))}`}>
          {lineTime(line.t)}
        </time>
      )}
      {origin}
      <span className="log-text">
        <Text text={line.text} q={q} more={line.cut ?? 0} />
      </span>
    </div>
  );
});

function Text({ text, q, more }: { text: string; q: string | undefined; more: number }) {
  const shown = text.slice(0, SHOWN_CHARS);
  const hidden = text.length - shown.length + more;
  return (
    <>
      {q ? <Marked text={plainText(shown)} q={q} /> : <Coloured text={shown} />}
      {hidden > 0 && <em className="muted"> … and {bytes(hidden)} more: download the log to see it whole</em>}
    </>
  );
}

function Coloured({ text }: { text: string }) {
  const pieces = ansiPieces(text);
  return pieces.map((piece, index) =>
    piece.style ? (
      // biome-ignore lint/suspicious/noArrayIndexKey: the pieces of a line never move.
      <span key={index} className={piece.style}>
        {piece.text}
      </span>
    ) : (
      piece.text
    ),
  );
}

function Marked({ text, q }: { text: string; q: string }) {
  const found = findAll(text, q);
  let from = 0;
  const parts = found.map(([start, end]) => {
    const before = text.slice(from, start);
    from = end;
    return (
      <Fragment key={start}>
        {before}
        <mark>{text.slice(start, end)}</mark>
      </Fragment>
    );
  });
  return (
    <>
      {parts}
      {text.slice(from)}
    </>
  );
}
