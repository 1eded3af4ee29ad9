// All syncs: pictures of the last hour, choices, and a line for each sync with those that need a person first.

import { chart, spark, together } from "./charts.js";
import { $, attribute, badge, keep, pairs, put, show, stamp, tell } from "./dom.js";
import { age, behind, loss, number, plural, rate, remarks, seconds, stateOf, taken } from "./words.js";

const REORDER = 5000; // ms between two orders by a figure: lines must not jump under a pointer
const SOME = 20; // lines whose pictures are drawn in one go
const MANY = 6; // syncs that one overlooks without choosing among them

const CHOICES = [
  ["all", "All", () => true],
  ["person", "Need a person", (sync) => sync.needs_person],
  ["trouble", "Trying again", (sync) => !sync.needs_person && stateOf(sync).tone === "warn"],
  ["busy", "Starting or snapshot", (sync) => !sync.needs_person && stateOf(sync).tone === "busy"],
  ["good", "Running", (sync) => !sync.needs_person && stateOf(sync).tone === "good"],
  ["rest", "At rest", (sync) => !sync.needs_person && stateOf(sync).tone === "rest"],
];
const TONES = ["bad", "lost", "warn", "busy", "rest", "good"];
const byName = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true });
const urgency = (sync) => (sync.needs_person ? 0 : 10) + TONES.indexOf(stateOf(sync).tone) + (sync.gap ? 0 : 0.5);
const ORDERS = {
  trouble: (a, b) => urgency(a) - urgency(b) || byName(a, b),
  name: byName,
  lag: (a, b) => b.lag - a.lag || byName(a, b),
  rate: (a, b) => b.rate - a.rate || byName(a, b),
};

/** What leads to one sync from the list. */
export const link = (name) => $("syncs").kept?.get(name)?.f.name;

export const address = (name) => `#/sync/${encodeURIComponent(name)}`;

let model = null;
let choice = "all";
let ordered = { at: 0, how: "", names: [] };
const pictures = { rate: chart("rate", "Rows per second, all syncs"), lag: chart("lag", "Longest lag") };

export function prepare(shared) {
  model = shared;
  $("overall").append(pictures.rate, pictures.lag);
  $("syncs").keptAfter = $("syncs").tHead;
  $("find").addEventListener("input", render);
  $("order").addEventListener("change", render);
}

/** Draws what there is; lines that did not change are not touched. */
export function render() {
  const all = [...model.syncs.values()];
  renderChoices(all);
  renderOverall(all);
  const shown = inOrder(chosen(all));
  keep($("syncs"), shown, (sync) => sync.name, line, fill);
  show($("syncs"), shown.length > 0);
  show($("tools"), all.length > MANY);
  tell($("none"), shown.length || !model.agent ? "" : all.length ? "No sync is like that." : "The agent has no syncs.");
}

function chosen(all) {
  const wanted = $("find").value.trim().toLowerCase();
  const fits = CHOICES.find(([name]) => name === choice)[2];
  return all.filter(
    (sync) => fits(sync) && (!wanted || [sync.name, sync.state, sync.problem, sync.gap].some((text) => (text ?? "").toLowerCase().includes(wanted))),
  );
}

/** By name and trouble the order is always right; by a figure it is looked at every few seconds. */
function inOrder(syncs) {
  const how = $("order").value;
  const figures = how === "lag" || how === "rate";
  const recent = figures && ordered.how === how && performance.now() - ordered.at < REORDER;
  if (!recent) {
    ordered = { at: performance.now(), how, names: new Map([...model.syncs.values()].sort(ORDERS[how]).map((sync, at) => [sync.name, at])) };
  }
  const place = (sync) => ordered.names.get(sync.name) ?? Infinity;
  return syncs.sort((a, b) => place(a) - place(b));
}

function renderChoices(all) {
  const there = CHOICES.map(([name, text, fits]) => [name, text, all.filter(fits).length]).filter(
    ([name, , count]) => count || name === "all" || name === choice,
  );
  const make = ([name]) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = `choice ${name}`;
    button.addEventListener("click", () => {
      choice = name;
      render();
    });
    return button;
  };
  keep($("choices"), there, ([name]) => name, make, (button, [name, text, count]) => {
    put(button, `${text} ${number(count)}`);
    attribute(button, "aria-pressed", String(name === choice));
  });
}

function renderOverall(all) {
  show($("overall"), all.length > 0);
  pictures.rate.now(all.reduce((sum, sync) => sum + sync.rate, 0));
  const worst = all.reduce((most, sync) => (sync.lag > (most?.lag ?? 0) ? sync : most), null);
  pictures.lag.now(worst?.lag ?? 0, worst && all.length > 1 ? `, ${worst.name}` : "");
  const histories = all.map((sync) => sync.history).filter(Boolean);
  if (model.minute !== pictures.drawn && histories.length) {
    pictures.drawn = model.minute;
    const hour = together(histories);
    pictures.rate.update(hour);
    pictures.lag.update(hour);
  }
}

function line(sync) {
  const element = stamp("t-sync");
  put(element.f.name, sync.name);
  attribute(element.f.name, "href", address(sync.name));
  return element;
}

/** One line. A sync that brings no news is the same object as before. */
function fill(element, sync) {
  const { f } = element;
  put(f.age, ageOf(sync));
  if (element.revision === sync.revision) return;
  element.revision = sync.revision;
  attribute(element, "class", `sync${sync.needs_person ? " person" : ""}`);
  badge(f, stateOf(sync), sync.state);
  put(f.rate, rate(sync.rate));
  put(f.lag, seconds(sync.lag));
  put(f.behind, behind(sync));
  put(f.loss, loss(sync));
  f.loss.classList.toggle("near", Boolean(sync.loss_is_near));
  put(f.rows, number(sync.rows));
  snapshot(f, sync);
  const known = remarks(sync);
  pairs(f.remarks, known);
  show(f.more, known.length > 0 || Boolean(sync.snapshot));
  if (sync.history && element.history !== sync.history) {
    element.history = sync.history;
    if (!undrawn.size) setTimeout(drawSome);
    undrawn.add(element);
  }
}

// The small pictures come a moment after words and figures, some at a time: hundreds of them change in the same second.
const undrawn = new Set();
function drawSome() {
  for (const element of [...undrawn].slice(0, SOME)) {
    undrawn.delete(element);
    spark(element.f.rates, "rate", element.history.rate);
    spark(element.f.lags, "lag", element.history.lag);
  }
  if (undrawn.size) setTimeout(drawSome);
}

/** The bar of a snapshot and what stands beside it; also for the page of one sync. */
export function snapshot(f, sync) {
  show(f.taken, Boolean(sync.snapshot));
  if (!sync.snapshot) return;
  put(f.took, taken(sync.snapshot));
  show(f.part, !sync.snapshot.waits);
  if (sync.snapshot.percent == null) f.part.removeAttribute("value");
  else f.part.value = sync.snapshot.percent;
}

export const ageOf = (sync) => (sync.since ? `for ${age(model.time() - sync.since)}` : "");

/** The strip on top, the title and the picture of the tab: whoever needs a person cannot be overlooked. */
export function alarm(away) {
  const calling = [...model.syncs.values()].filter((sync) => sync.needs_person).sort(ORDERS.trouble);
  const title = `${plural(calling.length, "sync")} ${calling.length === 1 ? "needs" : "need"} a person`;
  show($("alarm"), calling.length > 0);
  if (calling.length) put($("alarm-title"), title);
  const few = calling.slice(0, 6);
  keep($("alarm-list"), few, (sync) => sync.name, () => stamp("t-alarm"), (element, sync) => {
    put(element.f.name, sync.name);
    attribute(element.f.name, "href", address(sync.name));
    put(element.f.state, `${sync.state} ${ageOf(sync)}`);
  });
  const here = away ? `${away} · fuagent` : "fuagent";
  document.title = calling.length ? `${number(calling.length)} ${calling.length === 1 ? "needs" : "need"} a person · ${here}` : here;
  attribute(document.querySelector("link[rel=icon]"), "href", calling.length ? "icon-alert.svg" : "icon.svg");
}
