import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { createDeployment, triggerRun } from "../api/calls";
import { jobsQuery } from "../api/queries";
import { JobStep, PackageStep, ScheduleStep } from "../forms/DeploySteps";
import { deploymentBody, deploymentCommand, newDeployment } from "../forms/deployment";
import type { Uploaded } from "../forms/PackageDrop";
import { Icon } from "../ui/Icon";
import { PageHead } from "../ui/Page";
import { Command, Fault } from "../ui/parts";
import { say } from "../ui/toasts";

/** A worker resolves the version meanwhile; that may have to download packages. */
const WAIT_SECONDS = 60;

export function DeployPage() {
  const search = useSearch({ from: "/shell/deploy" });
  const navigate = useNavigate();
  const queries = useQueryClient();
  const jobs = useQuery(jobsQuery).data?.items ?? [];
  const [form, setForm] = useState(() => newDeployment(search));
  const [busy, setBusy] = useState<string>();
  const [error, setError] = useState<unknown>();
  const [filename, setFilename] = useState<string>();
  const set = (change: Partial<typeof form>) => setForm((before) => ({ ...before, ...change }));
  const known = jobs.find((job) => job.name === form.job);
  const type = known?.type ?? form.type;

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setError(undefined);
    setBusy("Resolving the packages it needs…");
    try {
      const deployed = await createDeployment({
        body: deploymentBody({ ...form, type }),
        query: { wait: WAIT_SECONDS },
      });
      await queries.invalidateQueries({ queryKey: ["jobs"] });
      say(deployed.created.length ? `Deployed; new: ${deployed.created.join(", ")}.` : "Deployed.");
      if (form.runNow && type === "scheduled" && deployed.context.state === "enabled") {
        setBusy("Starting it…");
        const run = await triggerRun({ body: { job: form.job, env: form.env } });
        void navigate({ to: "/runs/$runId", params: { runId: run.run_id } });
      } else {
        void navigate({ to: "/job/$", params: { _splat: form.job } });
      }
    } catch (problem) {
      setError(problem);
      setBusy(undefined);
    }
  };

  const onUploaded = ({ name, version, filename: uploaded }: Uploaded) => {
    setFilename(uploaded);
    setForm((before) => ({ ...before, packageName: name, packageVersion: version, job: before.job || name }));
  };
  const step = { form, set, known };

  return (
    <>
      <PageHead
        title="Deploy"
        crumbs={
          <>
            <Link to="/jobs">Jobs</Link>
            <Icon name="chevron" size={12} />
          </>
        }
        about="A package, in an environment, on schedule or as a daemon. Deploying again under the same name makes a new version of the job."
      />
      <form className="steps" onSubmit={submit}>
        <PackageStep {...step} onUploaded={onUploaded} />
        <JobStep {...step} />
        {type === "scheduled" && <ScheduleStep {...step} />}
        <div>
          <p className="muted">The same from a terminal, which also takes a project folder:</p>
          <Command>{deploymentCommand({ ...form, type }, filename)}</Command>
        </div>
        {error !== undefined && <Fault error={error} />}
        <div className="row">
          <button type="submit" className="button primary" disabled={Boolean(busy)}>
            <Icon name={busy ? "spinner" : "bolt"} /> {busy ? "Deploying…" : "Deploy"}
          </button>
          <span className="muted" role="status" aria-live="polite">
            {busy}
          </span>
        </div>
      </form>
    </>
  );
}
