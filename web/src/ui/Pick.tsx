interface PickProps {
  label: string;
  value: string | undefined;
  /** What choosing nothing is called. */
  all: string;
  options: readonly (readonly [string, string])[];
  onChange: (value: string | undefined) => void;
}

/** A filter with one choice; a value that is no option (any more) still shows. */
export function Pick({ label, value, all, options, onChange }: PickProps) {
  const known = !value || options.some(([option]) => option === value);
  return (
    <select
      className="input compact"
      aria-label={label}
      value={value ?? ""}
      onChange={(event) => onChange(event.target.value || undefined)}
    >
      <option value="">{all}</option>
      {!known && <option value={value}>{value}</option>}
      {options.map(([option, text]) => (
        <option key={option} value={option}>
          {text}
        </option>
      ))}
    </select>
  );
}
