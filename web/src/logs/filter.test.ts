import { describe, expect, it } from "vitest";
import { findAll, matches } from "./filter";

const line = { text: "Could not parse row 7", level: "ERROR", stream: "stderr" as const };

describe("a filter", () => {
  it("finds text whatever its case", () => {
    expect(matches(line, { q: "PARSE row" })).toBe(true);
    expect(matches(line, { q: "parsed" })).toBe(false);
  });

  it("shows a level and those above", () => {
    expect(matches(line, { level: "WARNING" })).toBe(true);
    expect(matches({ ...line, level: "INFO" }, { level: "WARNING" })).toBe(false);
  });

  it("for a level leaves out lines that show none", () => {
    expect(matches({ ...line, level: null }, { level: "DEBUG" })).toBe(false);
    expect(matches({ ...line, level: null }, {})).toBe(true);
  });

  it("needs everything asked for", () => {
    expect(matches(line, { q: "parse", level: "ERROR", stream: "stderr" })).toBe(true);
    expect(matches(line, { q: "parse", level: "ERROR", stream: "stdout" })).toBe(false);
  });
});

describe("what is marked", () => {
  it("is each place, without overlap", () => {
    expect(findAll("aAaa b aa", "aa")).toEqual([
      [0, 2],
      [2, 4],
      [7, 9],
    ]);
    expect(findAll("abc", "")).toEqual([]);
  });
});
