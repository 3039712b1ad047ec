import { describe, expect, it } from "vitest";
import { ansiPieces, plainText } from "./ansi";

const ESC = "\u001b";

describe("terminal colours", () => {
  it("become class names until they are reset", () => {
    expect(ansiPieces(`${ESC}[32mok${ESC}[0m then ${ESC}[1;31mbad`)).toEqual([
      { text: "ok", style: "ansi-green" },
      { text: " then ", style: "" },
      { text: "bad", style: "ansi-red ansi-bold" },
    ]);
  });

  it("skip the colours we have no name for, and their numbers", () => {
    expect(ansiPieces(`${ESC}[38;5;196mx${ESC}[38;2;1;2;3my`)).toEqual([
      { text: "x", style: "" },
      { text: "y", style: "" },
    ]);
  });

  it("drop other escapes, and control characters", () => {
    expect(plainText(`${ESC}]0;title\u0007a${ESC}[2Kb\u0000c\td`)).toBe("abc\td");
  });

  it("show of a progress bar what a terminal would", () => {
    expect(plainText("10%\r50%\r100%")).toBe("100%");
    expect(plainText("line\r")).toBe("line");
  });
});
