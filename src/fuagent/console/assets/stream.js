// The way to the agent: its stream of news, read with fetch() so that the token travels in a header, and what is asked of it.

const PLACE = "fuagent-token";
const SILENT = 40_000; // ms without a byte, of a stream that says something every 15 s
const LONGEST_WAIT = 10_000; // ms between two attempts
const UNSEEN = 10_000; // ms for which a tab that nobody looks at keeps its stream
const GLANCE = 20_000; // ms between its looks after that
const AGAIN = "again";

let token = null;
let reopen = () => {};

/** Takes the token out of the address, where a link had put it, and keeps it for this tab alone. */
export function takeToken() {
  const found = /^#token=([\w-]+)$/.exec(location.hash);
  if (!found) return;
  history.replaceState(null, "", location.pathname + location.search);
  setToken(found[1]);
}

/** The token that this tab had before the page was loaded anew. */
export function recallToken() {
  try {
    token ??= sessionStorage.getItem(PLACE);
  } catch {
    // a browser that keeps nothing
  }
}

export function setToken(text) {
  token = text;
  try {
    sessionStorage.setItem(PLACE, text);
  } catch {
    // it holds until the page is loaded anew
  }
  reopen();
}

export const hasToken = () => Boolean(token);
const authorization = () => (token ? { Authorization: `Bearer ${token}` } : {});

/** What the agent says is wrong, as {what, where, fix}; whatever it answered. */
async function refusal(response) {
  try {
    const { what, where, fix } = await response.json();
    if (what) return { what, where, fix, status: response.status };
  } catch {
    // not the agent's own words
  }
  return { what: `The answer was ${response.status}.`, status: response.status };
}

const GONE = { what: "The agent does not answer.", fix: "See whether it runs, and whether this machine can reach it.", status: 0 };

/** Asks for something; gives {told} or {refused}. */
async function ask(path, options) {
  try {
    const response = await fetch(path, { ...options, headers: { ...authorization(), ...options.headers }, cache: "no-store" });
    return response.ok ? { told: await response.json() } : { refused: await refusal(response) };
  } catch {
    return { refused: GONE };
  }
}

export const detail = (name) => ask(`api/syncs/${encodeURIComponent(name)}`, {});
export const act = (name, action, body) =>
  ask(`api/syncs/${encodeURIComponent(name)}/${action}`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

const pause = (time) => new Promise((resolve) => setTimeout(resolve, time));

// A browser holds few connections to one host, and all tabs share them. A page that is put aside lets its stream go at
// once, and a tab that nobody looks at after a while: it asks now and then instead, so that its title still calls.
let aside = null;
let leaving;
addEventListener("pagehide", () => {
  aside = new Promise((resolve) => addEventListener("pageshow", resolve, { once: true })).then(() => (aside = null));
  reopen();
});
document.addEventListener("visibilitychange", () => {
  clearTimeout(leaving);
  if (document.hidden) leaving = setTimeout(() => reopen(), UNSEEN);
  else if (glancing) reopen();
});
let glancing = false;

/**
 * Follows the agent's news for as long as the page lives.
 * `on` has: news(kind, value), heard(), cut(refused), locked(refused) which is waited for until there is another token.
 */
export async function follow(on) {
  let wait = 0;
  for (;;) {
    await aside;
    const abort = new AbortController();
    const again = new Promise((resolve) => (reopen = () => (abort.abort(AGAIN), resolve())));
    glancing = document.hidden;
    const { refused, heard } = glancing ? await glance(on) : await once(on, abort);
    if (abort.signal.reason === AGAIN) {
      wait = 0;
    } else if (refused?.status === 401) {
      on.locked(refused);
      await again;
    } else {
      if (refused) on.cut(refused);
      // A stream that the agent ended in order is opened again at once.
      wait = glancing ? GLANCE : refused ? Math.min(LONGEST_WAIT, heard ? 500 : wait * 2 || 500) : 0;
      await Promise.race([again, pause(wait * (0.75 + Math.random() / 2))]);
    }
  }
}

/** One look, of a tab that nobody looks at. */
async function glance(on) {
  const { told, refused } = await ask("api/state", {});
  if (!told) return { refused, heard: false };
  on.heard();
  on.news("state", told);
  return { refused: null, heard: true };
}

/** One stream to its end. */
async function once(on, abort) {
  let heard = false;
  let watchdog;
  const watch = () => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => abort.abort(), SILENT);
  };
  try {
    watch();
    const response = await fetch("api/events", { headers: authorization(), cache: "no-store", signal: abort.signal });
    if (!response.ok) return { refused: await refusal(response), heard };
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return { refused: heard ? null : GONE, heard };
      watch();
      on.heard();
      heard = true;
      text = read(text + value, on.news);
    }
  } catch {
    return { refused: GONE, heard };
  } finally {
    clearTimeout(watchdog);
  }
}

/** Tells the whole events in `text`; gives what is left of it. */
function read(text, news) {
  const blocks = text.split("\n\n");
  const rest = blocks.pop();
  for (const block of blocks) {
    let kind = "message";
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("event:")) kind = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
    }
    if (data.length) news(kind, JSON.parse(data.join("\n")));
  }
  return rest;
}
