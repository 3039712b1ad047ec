import { Field } from "../ui/parts";
import type { DeploymentForm } from "./deployment";

interface DeployFieldsProps {
  form: DeploymentForm;
  type: string;
  onChange: (change: Partial<DeploymentForm>) => void;
}

/** What most deployments do not need. */
export function DeployFields({ form, type, onChange }: DeployFieldsProps) {
  const text = (
    name: "entry" | "args" | "namespace" | "group" | "replicas",
    label: string,
    hint: string,
    placeholder = "",
  ) => (
    <Field label={label} hint={hint}>
      {(attributes) => (
        <input
          {...attributes}
          className="input"
          value={form[name]}
          placeholder={placeholder}
          onChange={(event) => onChange({ [name]: event.target.value })}
        />
      )}
    </Field>
  );
  return (
    <>
      {type === "daemon" && (
        <div className="form-grid">
          {text("replicas", "Replicas", "How many run at once.")}
          {text("group", "Consumer group", "Optional; replicas share their topics in it.")}
        </div>
      )}
      <details>
        <summary>More: entry point, arguments, variables, namespace</summary>
        <div className="stack" style={{ paddingTop: 14 }}>
          <div className="form-grid">
            {text(
              "entry",
              "Entry point",
              "Left empty: the console script named like the package, else its module.",
              "package.module:main",
            )}
            {text("args", "Arguments", "As in a shell; quotes keep words together.", "--fast --day today")}
            {text("namespace", "Namespace", "Dotted, for grouping.", "default")}
          </div>
          <Field label="Variables" hint="NAME=value, one per line. A value may be secret://path#field.">
            {(attributes) => (
              <textarea
                {...attributes}
                className="input mono"
                rows={3}
                value={form.variables}
                onChange={(event) => onChange({ variables: event.target.value })}
              />
            )}
          </Field>
        </div>
      </details>
    </>
  );
}
