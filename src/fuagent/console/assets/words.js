// Words and figures as people read them: the same as on the terminal (screen.py).

// Every state of a sync: its picture, how loud it is, and what it means. A test holds them against engine/lifecycle.py.
export const STATES = {
  starting: { icon: "starting", tone: "busy", meaning: "connecting, reading the service's document, asking for the checkpoint" },
  snapshot: { icon: "snapshot", tone: "busy", meaning: "sending every row" },
  streaming: { icon: "streaming", tone: "good", meaning: "sending changes" },
  "caught up": { icon: "caught-up", tone: "good", meaning: "every change is delivered; waiting for the next" },
  retrying: { icon: "retrying", tone: "warn", meaning: "the source or the service does not answer; the same work is tried again" },
  "wrong answer": { icon: "question", tone: "warn", meaning: "something answers that is not the service; tried again slowly" },
  unauthorised: { icon: "key", tone: "warn", meaning: "credentials are refused; those in files are read again, and all are tried slowly" },
  paused: { icon: "paused", tone: "rest", meaning: "stopped by an operator until resumed" },
  halted: { icon: "halted", tone: "bad", meaning: "stopped; a person has to act" },
  "lost place": { icon: "lost", tone: "lost", meaning: "changes may be missing; waiting for the service to ask for a snapshot" },
  draining: { icon: "draining", tone: "busy", meaning: "finishing what is in flight before the end" },
  stopped: { icon: "stopped", tone: "rest", meaning: "ended" },
};
const UNKNOWN = { icon: "question", tone: "rest", meaning: "" };
export const stateOf = (sync) => STATES[sync.state] ?? UNKNOWN;

export const NONE = "–";
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const day = new Intl.DateTimeFormat(undefined, { year: "numeric", month: "short", day: "numeric" });

export const number = (value) => whole.format(value);
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

/** A rate, with a digit behind the point where the number is small. */
export const rate = (value) => (value > 0 && value < 10 ? fine : whole).format(value);
export const rowsPerSecond = (value) => `${rate(value)} ${value === 1 ? "row" : "rows"}/s`;

/** A duration in its two largest units; below ten seconds with a digit behind the point. */
export function seconds(value) {
  if (value > 0 && value < 9.95) return value < 0.05 ? "under 0.1 s" : `${fine.format(value)} s`;
  const all = Math.max(0, Math.round(value));
  if (all < 60) return `${all} s`;
  if (all < 3600) return `${Math.floor(all / 60)} min ${all % 60} s`;
  if (all < 86400) return `${Math.floor(all / 3600)} h ${Math.floor((all % 3600) / 60)} min`;
  return `${Math.floor(all / 86400)} d ${Math.floor((all % 86400) / 3600)} h`;
}

/** How long a request took. */
export const took = (value) => (value < 0.9995 ? `${Math.round(value * 1000)} ms` : seconds(value));

/** How long something has lasted, in one unit, so that it seldom changes. */
export function age(value) {
  const all = Math.max(0, Math.floor(value));
  if (all < 60) return `${all} s`;
  if (all < 3600) return `${Math.floor(all / 60)} min`;
  if (all < 86400) return `${Math.floor(all / 3600)} h`;
  return `${Math.floor(all / 86400)} d`;
}

/** Bytes in the largest unit that leaves a number before the point. */
export function size(value) {
  for (const unit of ["bytes", "kB", "MB"]) {
    if (value < 1000) return `${value < 10 && unit !== "bytes" ? fine.format(value) : Math.round(value)} ${unit}`;
    value /= 1000;
  }
  return `${fine.format(value)} GB`;
}

/** A time of day, with its date unless that is today's. */
export function when(unix, now) {
  const then = new Date(unix * 1000);
  const today = day.format(then) === day.format(new Date(now * 1000));
  return today ? clock.format(then) : `${day.format(then)}, ${clock.format(then)}`;
}

/** How far a sync is behind in its source, in the unit the source tells. */
export function behind(sync) {
  if (sync.behind_bytes != null) return size(sync.behind_bytes);
  return sync.behind_rows != null ? plural(sync.behind_rows, "row") : NONE;
}

/** How much of its log the source keeps for a sync, or for how long it keeps it for everybody. */
export function kept(sync) {
  if (sync.kept_bytes != null) return size(sync.kept_bytes);
  return sync.kept_seconds != null ? seconds(sync.kept_seconds) : NONE;
}

/** When the source's log will be lost: the time where it can be told, else the room, else nothing is kept or lost. */
export function loss(sync) {
  if (sync.loss_in != null) return seconds(sync.loss_in);
  return sync.room_bytes != null ? `${size(sync.room_bytes)} left` : NONE;
}
const lost = (sync) =>
  sync.loss_by === "age"
    ? `The database keeps changes for ${seconds(sync.kept_seconds)}: at the earliest in ${seconds(sync.loss_in)} it lets go of some that were not read.`
    : `The database lets go of changes that were not read in ${seconds(sync.loss_in)}, at the present pace.`;

/** A running or waiting snapshot in one line. */
export function taken(snapshot) {
  if (snapshot.waits) return `A snapshot is asked for; it begins in ${seconds(snapshot.waits)}`;
  const part = snapshot.percent == null ? "" : ` ${Math.floor(snapshot.percent)} %`;
  const of = snapshot.total ? ` of ${number(snapshot.total)}` : "";
  const left = snapshot.left_seconds == null ? "" : ` · ${seconds(snapshot.left_seconds)} left`;
  const cause = snapshot.cause ? ` · because ${snapshot.cause}` : "";
  return `Snapshot${part} · ${number(snapshot.rows)}${of} rows${left}${cause}`;
}

/** What a person should know of a sync beside its figures: [kind, text] each. */
export function remarks(sync) {
  const found = [];
  if (sync.problem) found.push(["problem", sync.problem]);
  if (sync.fix) found.push(["fix", sync.fix]);
  if (sync.gap) {
    found.push(["gap", `Changes may be missing at the service: ${sync.gap}`]);
    if (!sync.fix && sync.state !== "snapshot") found.push(["fix", "A snapshot puts it right, if the service asks for none itself."]);
  }
  if (sync.loss_is_near) found.push(["log", lost(sync)]);
  if (sync.rejected) found.push(["set aside", `${plural(sync.rejected, "row")} that the service refused`]);
  return found;
}
