import { type ReactNode, useEffect, useState } from "react";
import { Icon, type IconName } from "../ui/Icon";
import { LEVELS, type Level, type LogFilter } from "./filter";

interface LogToolbarProps {
  filter: LogFilter;
  onFilter: (filter: LogFilter) => void;
  follow: boolean;
  onFollow: (follow: boolean) => void;
  wrap: boolean;
  onWrap: (wrap: boolean) => void;
  time: boolean;
  onTime: (time: boolean) => void;
  children?: ReactNode;
}

export function LogToolbar(props: LogToolbarProps) {
  const { filter, onFilter } = props;
  return (
    <div className="log-tools" role="toolbar" aria-label="Log">
      <SearchBox value={filter.q ?? ""} onChange={(q) => onFilter({ ...filter, q: q || undefined })} />
      <select
        className="input compact"
        aria-label="Level"
        value={filter.level ?? ""}
        onChange={(event) => onFilter({ ...filter, level: (event.target.value || undefined) as Level | undefined })}
      >
        <option value="">All levels</option>
        {LEVELS.slice(1).map((level) => (
          <option key={level} value={level}>
            {level} and above
          </option>
        ))}
      </select>
      <select
        className="input compact"
        aria-label="Stream"
        value={filter.stream ?? ""}
        onChange={(event) => onFilter({ ...filter, stream: (event.target.value || undefined) as LogFilter["stream"] })}
      >
        <option value="">Both streams</option>
        <option value="stdout">stdout</option>
        <option value="stderr">stderr</option>
      </select>
      <span className="log-buttons">
        <Toggle
          icon={props.follow ? "pause" : "down"}
          label="Follow"
          on={props.follow}
          onChange={props.onFollow}
          words
        />
        <Toggle icon="wrap" label="Wrap long lines" on={props.wrap} onChange={props.onWrap} />
        <Toggle icon="clock" label="Show times" on={props.time} onChange={props.onTime} />
        {props.children}
      </span>
    </div>
  );
}

interface ToggleProps {
  icon: IconName;
  label: string;
  on: boolean;
  onChange: (on: boolean) => void;
  words?: boolean;
}

function Toggle({ icon, label, on, onChange, words }: ToggleProps) {
  return (
    <button
      type="button"
      className={`button quiet ${words ? "" : "icon"}`}
      aria-pressed={on}
      aria-label={words ? undefined : label}
      title={label}
      onClick={() => onChange(!on)}
    >
      <Icon name={icon} />
      {words && (on ? "Following" : "Follow")}
    </button>
  );
}

/** Waits for a pause in typing: each search is a request. */
export function SearchBox({
  value,
  onChange,
  label = "Search the log",
}: {
  value: string;
  onChange: (value: string) => void;
  label?: string;
}) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (text === value) return;
    const timer = setTimeout(() => onChange(text.trim()), 250);
    return () => clearTimeout(timer);
  }, [text, value, onChange]);
  return (
    <span className="search-box">
      <Icon name="search" />
      <input
        className="input compact"
        type="search"
        aria-label={label}
        placeholder={label}
        value={text}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Enter") onChange(text.trim());
          if (event.key === "Escape") setText("");
        }}
      />
    </span>
  );
}
