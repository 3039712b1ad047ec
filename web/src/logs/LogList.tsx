import { useVirtualizer } from "@tanstack/react-virtual";
import { type ReactNode, type Ref, useCallback, useEffect, useImperativeHandle, useLayoutEffect, useRef } from "react";

export const ROW_HEIGHT = 20;
/** A scroll so soon after the wheel, a key or a press is the reader's own; dragging a bar and gliding take a while. */
const INPUT_MS = 1500;

export interface LogListHandle {
  scrollToIndex: (index: number) => void;
}

interface LogListProps {
  label: string;
  count: number;
  row: (index: number) => ReactNode;
  wrap: boolean;
  follow: boolean;
  onFollow: (follow: boolean) => void;
  /** The rows in sight, so that absent ones can be fetched. */
  onRange?: (first: number, last: number) => void;
  /** How many rows fell out at the top since the beginning. */
  dropped?: number;
  ref?: Ref<LogListHandle>;
}

/**
 * Rows of a log, of which only those in sight exist. Scrolling up stops following; reaching the end follows again.
 * For another list, such as that of a filter, mount another one (by key): positions and heights are not the same.
 */
export function LogList(props: LogListProps) {
  const { count, row, wrap, follow, onFollow, onRange, dropped = 0 } = props;
  const scroller = useRef<HTMLElement>(null);
  const lastTop = useRef(0);
  const lastInput = useRef(Number.NEGATIVE_INFINITY);
  const getItemKey = useCallback((index: number) => index + dropped, [dropped]);
  const virtualizer = useVirtualizer({
    count,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW_HEIGHT,
    getItemKey,
    overscan: 12,
  });
  const items = virtualizer.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const last = items[items.length - 1]?.index ?? 0;

  useImperativeHandle(props.ref, () => ({
    scrollToIndex: (index) => virtualizer.scrollToIndex(index, { align: "center" }),
  }));
  // biome-ignore lint/correctness/useExhaustiveDependencies: another way of wrapping has other heights.
  useEffect(() => {
    virtualizer.measure();
  }, [wrap, virtualizer]);
  useEffect(() => {
    onRange?.(first, last);
  }, [first, last, onRange]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: each new line, or height, moves the end.
  useLayoutEffect(() => {
    if (follow && count) virtualizer.scrollToIndex(count - 1, { align: "end" });
  }, [follow, count, dropped, virtualizer, virtualizer.getTotalSize()]);

  const onInput = () => {
    lastInput.current = performance.now();
  };
  const onScroll = () => {
    const element = scroller.current;
    if (!element) return;
    const { scrollTop, scrollHeight, clientHeight } = element;
    const moved = scrollTop - lastTop.current;
    lastTop.current = scrollTop;
    // The list scrolls by itself too, as lines come and heights change: only people stop and start following.
    if (performance.now() - lastInput.current > INPUT_MS) return;
    const atEnd = scrollHeight - scrollTop - clientHeight < ROW_HEIGHT;
    if (follow ? moved < 0 && !atEnd : moved > 0 && atEnd) onFollow(!follow);
  };

  return (
    <section
      ref={scroller}
      className={`log-list ${wrap ? "wrapping" : ""}`}
      onScroll={onScroll}
      onWheel={onInput}
      onTouchMove={onInput}
      onPointerDown={onInput}
      onKeyDown={onInput}
      aria-label={props.label}
    >
      <div
        className="log-rows"
        style={{ height: virtualizer.getTotalSize() }}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keyboard.
        tabIndex={0}
        role="log"
        aria-live="off"
        aria-label={props.label}
      >
        {items.map((item) => (
          <div
            key={item.key}
            ref={wrap ? virtualizer.measureElement : undefined}
            data-index={item.index}
            className="log-place"
            style={{ transform: `translateY(${item.start}px)` }}
          >
            {row(item.index)}
          </div>
        ))}
      </div>
    </section>
  );
}
