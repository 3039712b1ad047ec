import { describe, expect, it } from "vitest";
import { BadPair, pairsOf, wordsOf } from "./pairs";

describe("NAME=value lines", () => {
  it("keep what follows the first equals sign", () => {
    expect(pairsOf("A=1\n\n URL=http://x/?a=b ")).toEqual({ A: "1", URL: "http://x/?a=b" });
  });

  it("are refused without one, by a sentence", () => {
    expect(() => pairsOf("A=1\nnonsense")).toThrow(BadPair);
    expect(() => pairsOf("nonsense")).toThrow("“nonsense” is not NAME=value.");
  });
});

describe("arguments", () => {
  it("are split as a shell does", () => {
    expect(wordsOf(`--day today --name "two words" 'and "these"' a"b c"d`)).toEqual([
      "--day",
      "today",
      "--name",
      "two words",
      'and "these"',
      "ab cd",
    ]);
    expect(wordsOf("  ")).toEqual([]);
  });
});
