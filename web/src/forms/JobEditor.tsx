import { useQueryClient } from "@tanstack/react-query";
import { type Job, updateJob } from "../api/calls";
import { FormDialog } from "./FormDialog";
import { pairsOf, textOfPairs } from "./pairs";

/** What a job is, apart from the package it runs: that comes by a deployment. */
export function JobEditor({ job, onClose }: { job: Job; onClose: () => void }) {
  const queries = useQueryClient();
  const policies = JSON.stringify(job.policies ?? {}, null, 2);
  return (
    <FormDialog
      title={`Edit ${job.name}`}
      submit="Save"
      onClose={onClose}
      fields={[
        { name: "description", label: "Description", type: "text" },
        {
          name: "namespace",
          label: "Namespace",
          type: "text",
          required: true,
          hint: "Dotted, for grouping and permissions.",
        },
        { name: "labels", label: "Labels", type: "lines", hint: "name=value, one per line." },
        {
          name: "kafka",
          label: "Kafka",
          type: "select",
          options: [
            ["default", "The suite's settings reach the script"],
            ["none", "The script gets no Kafka settings"],
          ],
        },
        {
          name: "after",
          label: "Runs after",
          type: "text",
          hint: "Jobs, by commas: JOB when it has succeeded, JOB:failure, JOB:done. All of them, in one environment.",
          placeholder: "extract, check:done",
        },
        {
          name: "policies",
          label: "Policies",
          type: "lines",
          mono: true,
          hint: "JSON: misfire, overlap, retry, timeout, start_deadline …",
        },
      ]}
      values={{
        description: job.description,
        namespace: job.namespace,
        labels: textOfPairs(job.labels),
        kafka: job.kafka,
        after: (job.after ?? []).join(", "),
        policies: policies === "{}" ? "" : policies,
      }}
      save={async (values) => {
        await updateJob({
          path: { ref: job.id },
          body: {
            description: values.description,
            namespace: values.namespace,
            labels: pairsOf(values.labels ?? ""),
            kafka: values.kafka === "none" ? "none" : "default",
            after: (values.after ?? "")
              .split(",")
              .map((name) => name.trim())
              .filter(Boolean),
            policies: parsed(values.policies),
          },
          headers: { "if-match": `"${job.rev}"` },
        });
        await queries.invalidateQueries({ queryKey: ["jobs"] });
      }}
    />
  );
}

function parsed(text: string | undefined): Record<string, unknown> {
  if (!text?.trim()) return {};
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch (error) {
    throw new Error(`The policies are not JSON: ${error instanceof Error ? error.message : error}`);
  }
}
