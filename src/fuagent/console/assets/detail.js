// One sync with all there is to know of it, and what can be done.

import { ACTIONS, ask } from "./actions.js";
import { chart } from "./charts.js";
import { $, attribute, badge, keep, pairs, put, show, stamp, tell } from "./dom.js";
import { ageOf, snapshot } from "./overview.js";
import { detail } from "./stream.js";
import { NONE, behind, kept, loss, number, plural, rate, remarks, seconds, size, stateOf, took, when } from "./words.js";

const EVERY = 2000; // ms between two looks at the details, while there is news

let model = null;
let page = null;
let name = "";
let known = null;
let asked = { at: 0, revision: -1, running: false };
const chosen = new Set();

export const prepare = (shared) => (model = shared);

/** Opens the page of one sync; the focus goes to its title, unless this is how the console was opened. */
export function open(wanted, focus) {
  name = wanted;
  known = null;
  asked = { at: 0, revision: -1, running: false };
  chosen.clear();
  page = stamp("t-detail");
  page.pictures = { rate: chart("rate", "Rows per second"), lag: chart("lag", "Lag") };
  page.f.charts.append(page.pictures.rate, page.pictures.lag);
  put(page.f.name, name);
  page.f.retrySome.addEventListener("click", () => ask(known, "retry-rejected", numbers(), done));
  page.f.dropSome.addEventListener("click", () => ask(known, "drop-rejected", numbers(), done));
  page.f.all.addEventListener("change", chooseAll);
  $("detail").replaceChildren(page);
  render();
  if (focus) $("detail-title").focus();
}

export function close() {
  name = "";
  page = null;
  $("detail").replaceChildren();
}

const done = () => {
  asked = { at: 0, revision: -1, running: false };
  chosen.clear();
  render();
};

/** Draws what is known, and asks for the rest where there is news of this sync. */
export function render() {
  if (!page) return;
  const sync = model.syncs.get(name);
  const gone = Boolean(model.agent) && !sync;
  page.classList.toggle("removed", gone); // nothing of what it was looks as if it were still so
  if (gone) {
    tell(page.f.hint, `There is no sync called ${name} any more.`);
    return;
  }
  if (!sync) return;
  overview(page.f, sync);
  look(sync);
}

/** Asks the agent, not too often; what it tells is drawn if this page is still open. */
async function look(sync) {
  const now = performance.now();
  if (asked.running || asked.revision === sync.revision || now - asked.at < EVERY || !model.live) return;
  const mine = (asked = { at: now, revision: sync.revision, running: true });
  const { told, refused } = await detail(sync.name);
  mine.running = false;
  if (mine !== asked || !page) return;
  if (told) {
    known = told;
    details(page.f, told);
  } else {
    mine.revision = -1;
    tell(page.f.hint, [refused.what, refused.fix].filter(Boolean).join(" "));
  }
}

function overview(f, sync) {
  badge(f, stateOf(sync), sync.state);
  put(f.age, ageOf(sync));
  put(f.meaning, stateOf(sync).meaning);
  attribute($("detail"), "class", sync.needs_person ? "person" : "");
  pairs(f.remarks, remarks(sync));
  show(f.remarks, f.remarks.children.length > 0);
  snapshot(f, sync);
  page.pictures.rate.now(sync.rate);
  page.pictures.lag.now(sync.lag);
  if (sync.history && page.history !== sync.history) {
    page.history = sync.history;
    page.pictures.rate.update(sync.history);
    page.pictures.lag.update(sync.history);
  }
  pairs(f.figures, figures(sync));
  if (known) buttons(f);
}

const figures = (sync) => [
  ["Rows sent", number(sync.rows)],
  ["Batches", number(sync.batches)],
  ["Bytes sent", size(sync.bytes)],
  ["Retries", number(sync.retries)],
  ["Set aside", number(sync.rejected)],
  ["Behind", sync.behind_bytes != null && sync.behind_rows != null ? `${size(sync.behind_bytes)}, ${plural(sync.behind_rows, "row")}` : behind(sync)],
  ["Log kept for it", kept(sync)],
  ["Log lost in", loss(sync)],
  ...(known ? [["Checkpoint here", String(known.checkpoint.here ?? NONE)], ["At the service", String(known.checkpoint.service ?? NONE)]] : []),
];

function details(f, sync) {
  buttons(f);
  pairs(f.figures, figures(model.syncs.get(name) ?? sync));
  tell(f.retrying, retrying(sync.retrying));
  batches(f, sync.batches ?? []);
  rejected(f, sync.rejected_rows ?? [], sync.rejected);
  keep(f.tables, sync.tables ?? [], (table) => table.name, () => stamp("t-table"), (row, table) => {
    put(row.f.name, table.name);
    put(row.f.route, table.route || NONE);
    put(row.f.rejected, number(table.rejected ?? 0));
  });
  pairs(f.facts, facts(sync));
  const notices = [...(sync.notices ?? [])].reverse();
  show(f.noticesPart, notices.length > 0);
  keep(f.notices, notices, (text) => text, () => document.createElement("li"), put);
  put(f.mapping, mapping(sync.mapping));
}

/** What makes sense now; without the agent's token they stand there and say why they do nothing. */
function buttons(f) {
  const there = (known.actions ?? []).filter((action) => ACTIONS[action] && !action.endsWith("-rejected"));
  const may = Boolean(model.agent?.writable) && model.live;
  const make = (action) => {
    const button = document.createElement("button");
    button.type = "button";
    button.addEventListener("click", () => ask({ ...known, ...model.syncs.get(name) }, action, null, done));
    return button;
  };
  keep(f.actions, there, (action) => action, make, (button, action) => {
    put(button, `${ACTIONS[action].label}…`);
    button.disabled = !may;
  });
  tell(f.hint, may || !model.live ? "" : `To act from here, open this page with the agent's token: press “${$("access").textContent}” above.`);
  f.retrySome.disabled = f.dropSome.disabled = !may || !chosen.size;
}

function retrying(now) {
  if (!now) return "";
  const next = now.next_in == null ? "" : ` The next one comes in ${seconds(now.next_in)}.`;
  return `Trying again: ${plural(now.attempt, "attempt")} failed so far.${next}`;
}

function facts(sync) {
  const { source = {}, service = {} } = sync;
  return [
    ["Source", source.driver],
    ["Place in its log", source.position],
    ["Document", service.document],
    ["Rows go to", (service.batch_endpoints ?? []).join(", ")],
    ["Checkpoint from", service.status_endpoint],
    ["Deletes", sync.deletes],
  ].map(([term, value]) => [term, value || NONE]);
}

/** How rows become events, line by line; what is left out is as it comes from the database. */
function mapping({ tables, exclude, fields, where, masks, transform, delete_field: field }) {
  const some = (list, text) => (list?.length ? list.map(text) : null);
  const found = [
    ["tables", some(tables, (name) => name)],
    ["exclude", some(exclude, (name) => name)],
    ["fields", fields ? some(fields, (one) => `${one.name}: ${one.source}`) : ["every column under its own name"]],
    ["where", where && [where]],
    ["masks", some(masks, (one) => `${one.column}: ${one.cover}`)],
    ["transform", transform && [transform]],
    ["delete_field", field && [field]],
  ];
  return found.filter(([, list]) => list).map(([name, list]) => (list.length === 1 ? `${name}: ${list[0]}` : [`${name}:`, ...list.map((one) => `  ${one}`)].join("\n"))).join("\n");
}

function batches(f, all) {
  show(f.noBatches, !all.length);
  show(f.batchesPart, all.length > 0);
  const key = (batch) => `${batch.at} ${batch.rows} ${batch.bytes}`;
  keep(f.batches, all, key, () => stamp("t-batch"), ({ f: cell }, batch) => {
    put(cell.at, when(batch.at, model.time()));
    put(cell.rows, number(batch.rows));
    put(cell.size, size(batch.bytes));
    put(cell.took, took(batch.seconds));
    put(cell.attempts, number(batch.attempts));
    const said = batch.answer.startsWith(`${batch.status}:`) ? "" : batch.status; // ours begin with it where it went wrong
    put(cell.answer, [said, batch.answer].filter(Boolean).join(" ") || NONE);
  });
}

function rejected(f, rows, count) {
  const there = new Set(rows.map((row) => row.number));
  for (const one of chosen) if (!there.has(one)) chosen.delete(one);
  show(f.rejectedPart, rows.length > 0);
  tell(f.rejectedMore, count > rows.length ? `The first ${number(rows.length)} of ${number(count)} are shown; fuagent rejected list has all of them.` : "");
  keep(f.rejectedRows, rows, (row) => row.number, choosable, ({ f: cell }, row) => {
    cell.choose.checked = chosen.has(row.number);
    put(cell.number, String(row.number));
    put(cell.table, row.table);
    put(cell.at, when(row.at, model.time()));
    put(cell.status, row.status ? String(row.status) : NONE);
    put(cell.reason, row.reason || NONE);
  });
  countChosen(f);
}

function choosable(row) {
  const element = stamp("t-rejected");
  attribute(element.f.choose, "aria-label", `Row ${row.number} of ${row.table}`);
  element.f.choose.addEventListener("change", (event) => {
    if (event.target.checked) chosen.add(row.number);
    else chosen.delete(row.number);
    countChosen(page.f);
  });
  return element;
}

function chooseAll() {
  const rows = known?.rejected_rows ?? [];
  chosen.clear();
  if (page.f.all.checked) for (const row of rows) chosen.add(row.number);
  rejected(page.f, rows, known.rejected);
}

function countChosen(f) {
  const rows = known?.rejected_rows?.length ?? 0;
  f.all.checked = rows > 0 && chosen.size === rows;
  f.all.indeterminate = chosen.size > 0 && chosen.size < rows;
  put(f.chosen, chosen.size ? `${plural(chosen.size, "row")} chosen` : "Choose rows first.");
  buttons(f);
}

const numbers = () => [...chosen].sort((a, b) => a - b);
