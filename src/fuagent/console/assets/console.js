// The console of a running fuagent: what every sync is doing, why it is not moving, and what to do.
//
// The agent's news is kept in `model` and drawn at most once a frame; while the page is not looked at, not at all.

import * as actions from "./actions.js";
import * as detail from "./detail.js";
import { $, attribute, put, show, tell } from "./dom.js";
import * as overview from "./overview.js";
import { follow, hasToken, recallToken, setToken, takeToken } from "./stream.js";
import { age, plural, size, when } from "./words.js";

const SILENT = 25; // seconds without a word, of an agent that says something every 15

const model = {
  agent: null,
  syncs: new Map(),
  minute: 0, // grows with every new minute of some history
  live: false,
  ahead: 0, // how far the agent's clock is ahead of this one's, in seconds
  heard: 0, // when the last word came, by this clock
  time: () => Date.now() / 1000 + model.ahead,
};
let revision = 0;
let route = null;
let scheduled = false;
let cut = null;

// ---------------------------------------------------------------- news

function state({ agent, syncs }) {
  model.agent = agent;
  model.ahead = agent.now - Date.now() / 1000;
  const before = model.syncs;
  model.syncs = new Map();
  for (const sync of syncs) take(sync, before.get(sync.name));
  announce(before);
}

function changes({ syncs }) {
  const before = new Map(model.syncs);
  for (const sync of syncs) take(sync, model.syncs.get(sync.name));
  announce(before);
}

/** A sync's news lie over what was known: a change leaves out the history unless a minute began. */
function take(sync, before) {
  revision += 1;
  if (sync.history) model.minute = revision;
  model.syncs.set(sync.name, { ...before, ...sync, revision });
}

/** What is read out: only that a sync changed its state in a way that matters, never a figure. */
function announce(before) {
  const said = [];
  for (const sync of model.syncs.values()) {
    const was = before.get(sync.name);
    if (!was || was.state === sync.state) continue;
    const moving = ["streaming", "caught up"];
    if (moving.includes(was.state) && moving.includes(sync.state)) continue;
    said.push(`${sync.name} is now: ${sync.state}${sync.needs_person ? ", and needs a person" : ""}`);
  }
  if (said.length > 5) said.splice(5, said.length, `and ${said.length - 5} more`);
  if (said.length) put($("said"), said.join(". "));
}

const on = {
  news(kind, value) {
    if (kind === "state") state(value);
    else if (kind === "changes") changes(value);
    else return;
    if (document.hidden) overview.alarm(route); // the tab's title is all of it that is seen
    schedule();
  },
  heard() {
    model.heard = Date.now();
    if (model.live) return;
    model.live = true;
    cut = null;
    schedule();
  },
  cut(refused) {
    model.live = false;
    cut = refused;
    schedule();
  },
  locked(refused) {
    model.live = false;
    cut = refused;
    schedule();
    unlock();
  },
};

// ---------------------------------------------------------------- drawing

function schedule() {
  if (scheduled || document.hidden) return;
  scheduled = true;
  requestAnimationFrame(render);
}

function render() {
  scheduled = false;
  bar();
  connection();
  overview.alarm(route);
  if (route === null) overview.render();
  else detail.render();
  if (model.agent && !render.marked) {
    render.marked = true;
    performance.mark("first-state");
  }
}

function bar() {
  const { agent } = model;
  if (!agent) return;
  const host = agent.host ? ` on ${agent.host}` : "";
  put(
    $("about"),
    `${agent.agent_id}${host} · ${plural(model.syncs.size, "sync")} · fuagent ${agent.version} · up ${age(model.time() - agent.started)} · journal ${size(agent.journal_bytes)}`,
  );
  const wrong = hasToken() && !agent.writable;
  put($("access"), agent.writable ? "May act" : wrong ? "Wrong token" : "Looking only");
  attribute($("access"), "class", `chip ${agent.writable ? "may" : wrong ? "wrong" : "look"}`);
}

/** Whether what is shown is true now. Old figures are still there, and say that they are old. */
function connection() {
  const silent = model.live && Date.now() - model.heard > SILENT * 1000;
  const old = !model.live || silent;
  document.documentElement.classList.toggle("old", old && model.heard > 0);
  attribute($("news"), "class", `chip news ${old ? "gone" : "live"}`);
  put($("news-text"), !old ? "Live" : model.heard || cut ? "No news" : "Connecting");
  if (!old || (!cut && !silent)) return tell($("cut"), "");
  const since = model.heard ? `No news from the agent since ${when(model.heard / 1000, Date.now() / 1000)}: what is shown below is from then. ` : "";
  tell($("cut"), since + [cut?.what, cut?.fix].filter(Boolean).join(" ") + (cut?.status === 401 ? "" : " Trying again."));
}

// ---------------------------------------------------------------- where one is

/** The sync that the address names; null for all of them. */
function place() {
  const found = /^#\/sync\/(.+)$/.exec(location.hash);
  try {
    return found ? decodeURIComponent(found[1]) : null;
  } catch {
    return null; // no name is written like that
  }
}

function go(first) {
  takeToken();
  const before = route;
  route = place();
  show($("overview"), route === null);
  show($("detail"), route !== null);
  if (route === null) detail.close();
  else detail.open(route, !first);
  render();
  if (first) return;
  scrollTo(0, 0);
  if (route !== null) return;
  const link = overview.link(before); // back where one came from
  if (link) link.focus();
  else $("main").focus({ preventScroll: true });
}

// ---------------------------------------------------------------- the token

function unlock() {
  const unknown = "The agent does not know the token of this page: it may have been started anew since.";
  const none = model.agent ? "Looking needs no token here; acting does." : "This agent shows itself only to those who have its token.";
  put($("unlock-text"), hasToken() ? unknown : none);
  $("unlock-token").value = "";
  if (!$("unlock").open) $("unlock").showModal();
}

function unlocked(event) {
  event.preventDefault();
  const found = /(?:#token=)?([\w-]+)\s*$/.exec($("unlock-token").value);
  if (!found) return;
  $("unlock").close();
  setToken(found[1]);
}

function onAccess() {
  if (model.agent?.writable) actions.toast("This page has the agent's token: it may pause, resume and so on.");
  else unlock();
}

// ---------------------------------------------------------------- the beginning

recallToken();
overview.prepare(model);
detail.prepare(model);
actions.prepare();
$("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address says which sync is shown
  $("main").focus();
});
$("access").addEventListener("click", onAccess);
$("unlock-no").addEventListener("click", () => $("unlock").close());
$("unlock-form").addEventListener("submit", unlocked);
addEventListener("hashchange", () => go(false));
document.addEventListener("visibilitychange", () => {
  // Whoever comes back sees the old figures until the stream is open again, which takes a moment.
  if (model.live) model.heard = Math.max(model.heard, Date.now() - (SILENT - 5) * 1000);
  schedule();
});
setInterval(schedule, 1000); // ages, and whether the agent has fallen silent
go(true);
follow(on);
