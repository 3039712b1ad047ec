/** Times and durations as people read them. */

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

/** A length of time, in seconds. */
export function duration(seconds: number): string {
  if (seconds < 0.0005) return "0 ms";
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < MINUTE) return `${Math.round(seconds)} s`;
  const whole = Math.round(seconds);
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min ${whole % MINUTE} s`;
  if (whole < DAY) return `${Math.floor(whole / HOUR)} h ${Math.floor((whole % HOUR) / MINUTE)} min`;
  return `${Math.floor(whole / DAY)} d ${Math.floor((whole % DAY) / HOUR)} h`;
}

/** How long before or after `now`, roughly: what a glance needs. */
export function relative(at: number, now: number): string {
  const seconds = Math.round(Math.abs(now - at) / 1000);
  if (seconds < 1) return "now";
  let text = `${Math.floor(seconds / DAY)} d`;
  if (seconds < MINUTE) text = `${seconds} s`;
  else if (seconds < HOUR) text = `${Math.floor(seconds / MINUTE)} min`;
  else if (seconds < DAY) text = `${Math.floor(seconds / HOUR)} h`;
  return at > now ? `in ${text}` : `${text} ago`;
}

const CLOCK = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DATED = new Intl.DateTimeFormat("en-GB", {
  day: "numeric",
  month: "short",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});
const YEARLY = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

/** Local time; with the day when it is not today. */
export function clock(at: Date, now: Date = new Date()): string {
  if (at.toDateString() === now.toDateString()) return CLOCK.format(at);
  return (at.getFullYear() === now.getFullYear() ? DATED : YEARLY).format(at);
}

export function dated(at: Date): string {
  return YEARLY.format(at);
}

export function utc(at: Date): string {
  return `${at
    .toISOString()
    .replace("T", " ")
    .replace(/\.000Z$|Z$/, "")} UTC`;
}

/** Local time to the millisecond, for a log line. */
export function lineTime(at: string): string {
  const date = new Date(at);
  return `${CLOCK.format(date)}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

const COUNT = new Intl.NumberFormat("en-GB");

export function count(number: number): string {
  return COUNT.format(number);
}

export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function bytes(number: number): string {
  if (number < 1000) return `${number} B`;
  if (number < 1_000_000) return `${(number / 1000).toFixed(1)} kB`;
  return `${(number / 1_000_000).toFixed(1)} MB`;
}
