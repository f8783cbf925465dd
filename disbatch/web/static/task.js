// One task with all that is known of it, at an address of its own: `#task/4711`.

import { byId, make, setText, show } from "./dom.js";
import { clock, duration, outcome } from "./format.js";
import { bearer } from "./session.js";

const ADDRESS = /^#task\/([0-9]{1,18})$/;

let wanted = null;

export function attachTask() {
  byId("task-close").addEventListener("click", () => {
    history.replaceState(null, "", "/");
    showTask();
  });
  addEventListener("hashchange", showTask);
  showTask();
}

// A link where somebody can be asked; the name alone in a page that is kept.
export function taskLink(id) {
  const name = `Task ${id}`;
  return byId("picture") || id < 0 ? name : make("a", { href: `#task/${id}` }, name);
}

async function showTask() {
  const id = ADDRESS.exec(location.hash)?.[1] ?? null;
  wanted = id;
  show(byId("task"), id !== null);
  if (id === null) return;
  setText(byId("task-title"), `Task ${id}`);
  byId("task-body").replaceChildren(make("p", { className: "note" }, "Looking…"));
  byId("task").scrollIntoView({ block: "nearest" });
  const parts = await asked(id);
  if (wanted === id) byId("task-body").replaceChildren(...parts);
}

async function asked(id) {
  try {
    const response = await fetch(`/task/${id}`, { headers: bearer() });
    if (response.ok) return describe(await response.json());
    return [make("p", { className: "note" }, `It cannot be looked up: the driver answers ${response.status}.`)];
  } catch {
    return [make("p", { className: "note" }, "It cannot be looked up: the driver cannot be reached.")];
  }
}

function describe({ running, rows, again }) {
  const parts = [];
  if (running) parts.push(where(`runs on ${running.node} for ${duration(running.seconds)}`, running), command(running.command));
  for (const row of rows.toReversed()) {
    const how = row.flags[3] === "S" ? `${outcome(row.returncode)}, in an earlier run` : outcome(row.returncode);
    parts.push(where(`${how} on ${row.node} · pid ${row.pid} · ${duration(row.elapsed_s)}, from ${clock(row.start_s)} to ${clock(row.finish_s)}`, row));
    parts.push(command(row.command), ...output("stderr", "err", row.err_snippet, row.err_bytes), ...output("stdout", "out", row.out_snippet, row.out_bytes));
  }
  if (!parts.length) parts.push(make("p", { className: "note" }, "It has not ended, and is not among the 200 tasks that have run longest."));
  if (again) parts.push(make("p", { className: "note" }, "To run it again by hand, on a machine that sees its files:"), make("pre", { className: "again" }, again));
  return parts;
}

function where(text, { line_no, repeat_index }) {
  const place = `line ${line_no}${repeat_index >= 0 ? `, repeat ${repeat_index}` : ""}`;
  return make("p", { className: "where" }, `${text} · ${place}`);
}

const command = (text) => make("pre", { className: "command" }, text);

function output(name, kind, snippet, bytes) {
  if (!bytes) return [];
  return [make("pre", { className: kind }, make("span", { className: "stream" }, `${name}, ${bytes} bytes `), snippet.trimEnd())];
}
