/** Server-sent events over fetch: unlike EventSource this survives a 502, and tells what it is doing. */
import { SseParser, type StreamEvent } from "./sse";

export type StreamState = "connecting" | "live" | "lost" | "refused";

export interface StreamOptions {
  /** Asked anew for each connection: it may carry how far we are. */
  url: () => string;
  onEvents: (events: StreamEvent[]) => void;
  onState?: (state: StreamState) => void;
  /** The api said no, for good. */
  onRefused?: (status: number) => void;
}

const DELAYS_MS = [200, 400, 800, 1500, 2500];
/** The api sends a comment each 15 s; a longer silence means that the connection is dead. */
const SILENCE_MS = 40_000;
/** A hidden tab gives its connection back: browsers allow six per host. */
const HIDDEN_MS = 5_000;
const FOR_GOOD = [400, 401, 403, 404, 422];

/** Follows a stream until the returned function is called, reconnecting with Last-Event-ID. */
export function openStream(options: StreamOptions): () => void {
  const follower = new Follower(options);
  follower.start();
  return () => follower.stop();
}

class Follower {
  private stopped = false;
  private failures = 0;
  private lastId: string | undefined;
  private connection: AbortController | undefined;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private hiding: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly options: StreamOptions) {}

  start(): void {
    document.addEventListener("visibilitychange", this.onVisibility);
    void this.connect();
  }

  stop(): void {
    this.stopped = true;
    document.removeEventListener("visibilitychange", this.onVisibility);
    clearTimeout(this.hiding);
    this.disconnect();
  }

  private async connect(): Promise<void> {
    const own = new AbortController();
    this.connection = own;
    if (!this.failures) this.tell("connecting");
    try {
      const response = await this.request(own.signal);
      if (FOR_GOOD.includes(response.status)) {
        this.refuse(response.status);
        return;
      }
      if (response.ok && response.body) {
        this.failures = 0;
        this.tell("live");
        await this.read(response.body, own);
      }
    } catch {
      // A dropped connection: told, and tried again, below.
    }
    if (!this.stopped && this.connection === own) this.tryAgain();
  }

  private request(signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (this.lastId !== undefined) headers["Last-Event-ID"] = this.lastId;
    return fetch(this.options.url(), { headers, signal, credentials: "same-origin" });
  }

  private async read(body: ReadableStream<Uint8Array>, own: AbortController): Promise<void> {
    const parser = new SseParser();
    const decoder = new TextDecoder();
    const reader = body.getReader();
    let silence: ReturnType<typeof setTimeout> | undefined;
    try {
      for (;;) {
        clearTimeout(silence);
        silence = setTimeout(() => own.abort(), SILENCE_MS);
        const { done, value } = await reader.read();
        if (done || own.signal.aborted) return;
        const events = parser.feed(decoder.decode(value, { stream: true }));
        this.lastId = events.findLast((event) => event.id)?.id ?? this.lastId;
        if (events.length) this.options.onEvents(events);
      }
    } finally {
      clearTimeout(silence);
    }
  }

  private tryAgain(): void {
    this.tell("lost");
    this.retry = setTimeout(() => void this.connect(), DELAYS_MS[Math.min(this.failures, DELAYS_MS.length - 1)]);
    this.failures += 1;
  }

  private refuse(status: number): void {
    this.tell("refused");
    if (!this.stopped) this.options.onRefused?.(status);
  }

  private tell(state: StreamState): void {
    if (!this.stopped) this.options.onState?.(state);
  }

  private disconnect(): void {
    const old = this.connection;
    this.connection = undefined;
    clearTimeout(this.retry);
    old?.abort();
  }

  private onVisibility = (): void => {
    clearTimeout(this.hiding);
    if (document.hidden) this.hiding = setTimeout(() => this.disconnect(), HIDDEN_MS);
    else if (!this.connection) void this.connect();
  };
}
