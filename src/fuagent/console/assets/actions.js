// What an operator can do to a sync. Each is asked first, in words that say what will happen.

import { $, put, show } from "./dom.js";
import { act } from "./stream.js";
import { plural } from "./words.js";

export const ACTIONS = {
  resume: {
    label: "Resume",
    yes: "Resume",
    says: () => ["The sync goes on where it stopped."],
  },
  pause: {
    label: "Pause",
    yes: "Pause",
    says: (sync) => [
      "The sync stops at the next transaction end and stays paused, through restarts too, until it is resumed. Other syncs go on.",
      "Changes made meanwhile wait in the database's log: keep an eye on how much room it has.",
      ...(sync.snapshot ? ["The snapshot under way ends, and is taken again after the pause."] : []),
    ],
  },
  snapshot: {
    label: "Snapshot",
    yes: "Send every row again",
    says: (sync) => [
      `Every row of ${sync.tables ? plural(sync.tables.length, "table") : "this sync"} is sent again, beginning at the next transaction end. Changes that come meanwhile are not lost.`,
      "The database and the service have more to do until it is over.",
    ],
    body: { table: null },
  },
  "accept-gap": {
    label: "Accept gap",
    yes: "Nothing is missing: accept",
    danger: true,
    says: (sync) => [
      `Changes may be missing at the service: ${sync.gap}`,
      "Accept this only if you know that nothing is missing, or have put it right by other means. The warning ends, no snapshot is suggested any more, and nothing is sent for it.",
    ],
  },
  "retry-rejected": {
    label: "Send again",
    yes: "Send again",
    says: (sync, numbers) => [
      `${plural(numbers.length, "row")} set aside: each is read from the source once more, as it is now, and sent alone.`,
      "One that the service takes, or that is gone at the source, leaves the list; one that is refused again stays on it.",
    ],
  },
  "drop-rejected": {
    label: "Drop",
    yes: "Drop for good",
    danger: true,
    says: (sync, numbers) => [`${plural(numbers.length, "row")} set aside: off the list for good, and not sent. This cannot be undone.`],
  },
};

let pending = null;

export function prepare() {
  $("ask-no").addEventListener("click", () => $("ask").close());
  $("ask-yes").addEventListener("click", confirmed);
  $("ask").addEventListener("cancel", (event) => {
    if (pending?.running) event.preventDefault(); // it is on its way: the answer is worth waiting for
  });
}

/** Asks whether to do `action` to `sync`; `numbers` are those of rows that were set aside. */
export function ask(sync, action, numbers, done) {
  const { label, yes, says, danger, body } = ACTIONS[action];
  pending = { name: sync.name, action, label, body: numbers ? { numbers } : (body ?? {}), done, running: false };
  put($("ask-title"), `${label}: ${sync.name}`);
  $("ask-text").replaceChildren(
    ...says(sync, numbers).map((text) => {
      const paragraph = document.createElement("p");
      paragraph.textContent = text;
      return paragraph;
    }),
  );
  put($("ask-yes"), yes);
  $("ask-yes").className = danger ? "danger" : "primary";
  show($("ask-refused"), false);
  running(false);
  $("ask").showModal();
  (danger ? $("ask-no") : $("ask-yes")).focus();
}

function running(whether) {
  if (pending) pending.running = whether;
  $("ask-yes").disabled = $("ask-no").disabled = whether;
  $("ask").setAttribute("aria-busy", String(whether));
}

async function confirmed() {
  const asked = pending;
  running(true);
  const { told, refused } = await act(asked.name, asked.action, asked.body);
  running(false);
  if (refused) {
    const said = [refused.what, refused.where && `Where: ${refused.where}.`, refused.fix].filter(Boolean).join(" ");
    put($("ask-refused"), said);
    show($("ask-refused"), true);
    $("ask-no").focus();
    return;
  }
  $("ask").close();
  toast(`${asked.name}: ${told.done}`);
  asked.done();
}

let leaving;
/** A line that comes and goes; read out too. */
export function toast(text) {
  clearTimeout(leaving);
  put($("toast"), text);
  leaving = setTimeout(() => put($("toast"), ""), 8000);
}
