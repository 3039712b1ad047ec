/** A deployment while it is being filled in, and as the api wants it. */
import { instantOf, pairsOf, wordsOf } from "./pairs";
import { newTiming, type Timing, timingBody } from "./timing";

export interface DeploymentForm {
  packageName: string;
  packageVersion: string;
  job: string;
  env: string;
  type: "scheduled" | "daemon";
  scheduled: boolean;
  timing: Timing;
  runNow: boolean;
  entry: string;
  args: string;
  variables: string;
  namespace: string;
  replicas: string;
  group: string;
}

export function newDeployment({ job, env }: { job?: string | undefined; env?: string | undefined }): DeploymentForm {
  return {
    packageName: "",
    packageVersion: "",
    job: job ?? "",
    env: env ?? "prod",
    type: "scheduled",
    // Another version of a job keeps its schedule.
    scheduled: !job,
    timing: newTiming(),
    runNow: true,
    entry: "",
    args: "",
    variables: "",
    namespace: "",
    replicas: "1",
    group: "",
  };
}

/** What was left empty is left out: the api then keeps what is there. */
export function deploymentBody(form: DeploymentForm) {
  const daemon = form.type === "daemon";
  const args = wordsOf(form.args);
  return {
    job: form.job.trim(),
    env: form.env.trim(),
    type: form.type,
    package_name: form.packageName.trim(),
    package_version: form.packageVersion.trim(),
    variables: pairsOf(form.variables),
    ...(form.entry.trim() && { entry: form.entry.trim() }),
    ...(args.length && { args }),
    ...(form.namespace.trim() && { namespace: form.namespace.trim() }),
    ...(!daemon && form.scheduled && { schedule: timingBody(form.timing) }),
    ...(daemon && form.replicas && { replicas: Number(form.replicas) }),
    ...(daemon && form.group.trim() && { group: form.group.trim() }),
  };
}

/** The same deployment as a command, for a script that calls it. */
export function deploymentCommand(form: DeploymentForm, filename: string | undefined): string {
  const named = form.packageName && form.packageVersion ? `${form.packageName}==${form.packageVersion}` : "hello.py";
  const words = ["kirby deploy", filename ?? named, "--job", form.job || "NAME", "--env", form.env || "ENV"];
  if (form.type === "daemon") words.push("--daemon");
  else if (form.scheduled) words.push(...timingOptions(form.timing));
  return words.join(" ");
}

function timingOptions(timing: Timing): string[] {
  if (timing.kind === "every") return ["--every", timing.every.trim()];
  if (timing.kind === "cron")
    return ["--schedule", `'${timing.expr.trim()}'`, ...(timing.tz === "UTC" ? [] : ["--tz", timing.tz])];
  return ["--at", instantOf(timing.at) ?? "TIME"];
}
