import { describe, expect, it } from "vitest";
import { SseParser } from "./sse";

describe("the event-stream format", () => {
  it("is read wherever the network cuts it", () => {
    const text = 'id: 1-7\nevent: lines\ndata: [{"n":7}]\n\n: still here\n\ndata: a\ndata: b\n\n';
    const wanted = [
      { event: "lines", data: '[{"n":7}]', id: "1-7" },
      { event: "message", data: "a\nb", id: "1-7" },
    ];
    for (let cut = 0; cut <= text.length; cut++) {
      const parser = new SseParser();
      expect([...parser.feed(text.slice(0, cut)), ...parser.feed(text.slice(cut))]).toEqual(wanted);
    }
  });

  it("is read with either line end, also when one is cut in two", () => {
    const parser = new SseParser();
    expect(parser.feed("event: run\r\ndata: 1\r")).toEqual([]);
    expect(parser.feed("\n\r\n")).toEqual([{ event: "run", data: "1", id: undefined }]);
  });

  it("says nothing for comments and empty events", () => {
    const parser = new SseParser();
    expect(parser.feed(": keep-alive\n\nevent: run\n\n")).toEqual([]);
  });
});
