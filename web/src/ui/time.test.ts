import { describe, expect, it } from "vitest";
import { duration, plural, relative } from "./time";

describe("lengths of time", () => {
  it("have the unit that a reader expects", () => {
    const wanted = {
      0: "0 ms",
      0.0042: "4 ms",
      1.25: "1.3 s",
      42: "42 s",
      61: "1 min 1 s",
      3599.6: "1 h 0 min",
      90000: "1 d 1 h",
    };
    for (const [seconds, text] of Object.entries(wanted)) expect(duration(Number(seconds))).toBe(text);
  });
});

describe("how long ago", () => {
  it("looks both ways", () => {
    expect(relative(0, 12_000)).toBe("12 s ago");
    expect(relative(3_600_000 * 5, 0)).toBe("in 5 h");
    expect(relative(100, 0)).toBe("now");
  });
});

describe("counts", () => {
  it("agree with their noun", () => {
    expect([plural(1, "line"), plural(1_000_000, "line")]).toEqual(["1 line", "1,000,000 lines"]);
  });
});
