// Pictures of an hour, minute by minute, drawn as SVG by hand. Each says in words what it shows.

import { attribute, put, show, stamp } from "./dom.js";
import { age, rowsPerSecond, seconds } from "./words.js";

const KINDS = {
  rate: { word: rowsPerSecond, scale: rowsPerSecond, steps: [1, 2, 5, 10], name: "Rows per second" },
  lag: { word: seconds, scale: age, steps: [1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400], name: "Lag" },
};

/** The least round number that is not below `value`. */
function ceiling(kind, value) {
  const { steps } = KINDS[kind];
  const found = steps.find((step) => step >= value);
  if (found !== undefined) return found;
  const unit = kind === "lag" ? 86400 : 10 ** Math.floor(Math.log10(value));
  return Math.ceil(value / unit) * unit;
}

const known = (values) => values.filter((value) => value !== null);

/** Lines through what is known; where a minute is missing there is a gap. */
function path(values, most, height) {
  const y = (value) => (height - 1 - (value / most) * (height - 2)).toFixed(1);
  let line = "";
  let area = "";
  for (let at = 0; at < values.length; at += 1) {
    if (values[at] === null) continue;
    let end = at;
    while (end + 1 < values.length && values[end + 1] !== null) end += 1;
    const points = [];
    for (let x = at; x <= end; x += 1) points.push(`${x} ${y(values[x])}`);
    if (end === at) points.push(`${at + 0.4} ${y(values[at])}`);
    line += `M${points.join("L")}`;
    area += `M${at} ${height}L${points.join("L")}L${Math.max(end, at + 0.4)} ${height}Z`;
    at = end;
  }
  return [line, area];
}

function draw(svg, values, most, height) {
  const [line, area] = path(values, most, height);
  attribute(svg.querySelector(".line"), "d", line);
  attribute(svg.querySelector(".area"), "d", area);
}

/** What a picture shows, for those who do not see it. */
function told(kind, values) {
  const { word, name } = KINDS[kind];
  const all = known(values);
  if (!all.length) return `${name} over the last hour: nothing known yet`;
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
  return `${name} over the last hour: at most ${word(Math.max(...all))}, on average ${word(mean)}, last ${word(all.at(-1))}`;
}

/** A small one in a line of the table. */
export function spark(svg, kind, values) {
  draw(svg, values, Math.max(kind === "lag" ? 1 : 0.1, ...known(values)), 20);
  attribute(svg, "aria-label", told(kind, values));
}

/** A large one, with a scale; what the pointer is over is told beside the title. */
export function chart(kind, title) {
  const element = stamp("t-chart");
  const { f } = element;
  const { word, scale } = KINDS[kind];
  let values = [];
  let until = 0;
  put(f.title, title);
  attribute(element, "class", `chart ${kind}`);
  const at = f.picture.querySelector(".at");

  f.plot.addEventListener("pointermove", (event) => {
    const box = f.plot.getBoundingClientRect();
    const minute = Math.round(((event.clientX - box.left) / box.width) * (values.length - 1));
    const value = values[minute];
    if (value == null) return leave();
    const then = new Date((until - (values.length - minute) * 60) * 1000); // where the minute began
    put(f.readout, `${String(then.getHours()).padStart(2, "0")}:${String(then.getMinutes()).padStart(2, "0")} ${word(value)}`);
    attribute(at, "d", `M${minute} 0V100`);
  });
  const leave = () => {
    put(f.readout, "");
    attribute(at, "d", "");
  };
  f.plot.addEventListener("pointerleave", leave);

  element.now = (value, note = "") => put(f.now, value === null ? "" : `${word(value)}${note}`);
  element.update = (history) => {
    ({ until } = history);
    values = history[kind];
    const most = ceiling(kind, Math.max(kind === "lag" ? 1 : 0.1, ...known(values)));
    draw(f.picture, values, most, 100);
    attribute(f.picture, "aria-label", told(kind, values));
    put(f.most, scale(most));
    show(f.most, known(values).length > 0);
  };
  return element;
}

/** The hours of all syncs as one: rates add up, the longest lag counts. */
export function together(histories) {
  const length = Math.max(0, ...histories.map((one) => one.rate.length));
  const until = Math.max(0, ...histories.map((one) => one.until));
  const join = (kind, fold) =>
    Array.from({ length }, (_, at) => {
      const there = known(histories.map((one) => one[kind][at] ?? null));
      return there.length ? fold(there) : null;
    });
  return { until, rate: join("rate", (all) => all.reduce((sum, one) => sum + one, 0)), lag: join("lag", (all) => Math.max(...all)) };
}
