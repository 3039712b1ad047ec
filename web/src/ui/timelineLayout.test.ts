import { describe, expect, it } from "vitest";
import { lanes } from "./timelineLayout";

const at = (seconds: number) => new Date(seconds * 1000).toISOString();
const run = (id: string, started: number, ended?: number, job = "a") => ({
  run_id: id,
  job,
  env: "prod",
  status: ended === undefined ? "RUNNING" : "SUCCEEDED",
  created_at: at(started - 1),
  started_at: at(started),
  ended_at: ended === undefined ? null : at(ended),
});

describe("the timeline", () => {
  it("places a run by its times, cut at the edges", () => {
    const [lane] = lanes([run("1", 25, 50), run("2", -100, 10)], [], 0, 100_000, 90_000);
    expect(lane?.bars.map(({ run_id, left, width }) => [run_id, left, width])).toEqual([
      ["1", 25, 25],
      ["2", 0, 10],
    ]);
  });

  it("draws what still runs up to now", () => {
    const [lane] = lanes([run("1", 25)], [], 0, 100_000, 80_000);
    expect(lane?.bars[0]).toMatchObject({ left: 25, width: 55 });
  });

  it("marks what never started where it was due, however late that was decided", () => {
    const missed = { ...run("1", 0, 80), status: "MISSED", started_at: null, due_at: at(30) };
    const [lane] = lanes([missed], [], 0, 100_000, 90_000);
    expect(lane?.bars[0]).toMatchObject({ left: 30, width: 0 });
  });

  it("leaves out what ended before, and what begins after now", () => {
    expect(lanes([run("1", -50, -20), run("2", 105, 106)], [], 0, 100_000, 90_000)).toEqual([]);
  });

  it("has a lane for each job and environment, and shows what is due", () => {
    const due = [{ job: "b", env: "test", next_due_at: at(95) }];
    const found = lanes([run("1", 10, 20)], due, 0, 100_000, 90_000);
    expect(found.map((lane) => `${lane.job}@${lane.env}`)).toEqual(["a@prod", "b@test"]);
    expect(found[1]?.ahead).toEqual([95]);
  });

  it("shows rows that wait for their time as due", () => {
    const waiting = { ...run("1", 0), status: "PENDING", started_at: null, due_at: at(92) };
    const [lane] = lanes([waiting], [], 0, 100_000, 90_000);
    expect(lane).toMatchObject({ bars: [], ahead: [92] });
  });
});
