import { describe, expect, it } from "vitest";
import { deploymentBody, deploymentCommand, newDeployment } from "./deployment";

const form = { ...newDeployment({}), packageName: "weather", packageVersion: "1.0.0", job: "weather", env: "prod" };
const cron = { ...form.timing, kind: "cron" as const, expr: "30 2 * * *", tz: "Europe/Brussels" };

describe("a deployment", () => {
  it("says only what was filled in", () => {
    expect(deploymentBody({ ...form, scheduled: false })).toEqual({
      job: "weather",
      env: "prod",
      type: "scheduled",
      package_name: "weather",
      package_version: "1.0.0",
      variables: {},
    });
  });

  it("has a schedule of one kind", () => {
    expect(deploymentBody(form).schedule).toEqual({ every: "10m" });
    expect(deploymentBody({ ...form, timing: cron }).schedule).toMatchObject({ expr: "30 2 * * *" });
  });

  it("of a daemon has replicas and no schedule", () => {
    const body = deploymentBody({ ...form, type: "daemon", replicas: "3", group: "g" });
    expect(body).toMatchObject({ replicas: 3, group: "g" });
    expect(body.schedule).toBeUndefined();
  });

  it("keeps another version's schedule unless it is asked for", () => {
    expect(deploymentBody({ ...newDeployment({ job: "weather" }) }).schedule).toBeUndefined();
  });

  it("can be typed as a command", () => {
    expect(deploymentCommand({ ...form, timing: cron }, undefined)).toBe(
      "kirby deploy weather==1.0.0 --job weather --env prod --schedule '30 2 * * *' --tz Europe/Brussels",
    );
    expect(deploymentCommand({ ...form, type: "daemon" }, "w-1.whl")).toBe(
      "kirby deploy w-1.whl --job weather --env prod --daemon",
    );
  });
});
