// Failures by cause, the most frequent first, with the latest examples of each; searchable. Elements are kept, so that
// what somebody has opened stays open while counts go up.

import { byId, make, setText, show } from "./dom.js";
import { clock, count, duration, outcome } from "./format.js";
import { taskLink } from "./task.js";

const list = byId("failures");
const search = byId("search");
const MOST = 12; // causes that are listed until somebody asks for all of them: engines come below them on a phone
const more = byId("failures-more");
const entries = new Map(); // key of a group -> its elements

let all = false;

export function attachFailures(state) {
  more.addEventListener("click", () => {
    all = !all;
    drawFailures(state);
  });
  search.addEventListener("input", () => drawFailures(state));
  addEventListener("keydown", (event) => {
    const writing = ["INPUT", "TEXTAREA"].includes(document.activeElement?.tagName);
    if (event.key !== "/" || writing || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    search.focus();
  });
}

export function drawFailures(state) {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = [...state.groups.values()].sort((a, b) => b.count - a.count || a.code - b.code || a.task_id - b.task_id);
  const few = !all && words.length === 0; // a search is through all of them
  let seen = 0;
  groups.forEach((group, at) => {
    const entry = entries.get(group.key) ?? addEntry(group);
    if (list.children[at] !== entry.element) list.insertBefore(entry.element, list.children[at] ?? null);
    const found = fill(entry, group, words);
    show(entry.element, found && (!few || at < MOST || entry.element.open));
    seen += found;
  });
  dropUnknown(state);
  setText(byId("failures-count"), state.counts.failed ? count(state.counts.failed) : "");
  show(byId("failures-none"), seen === 0);
  show(more, groups.length > MOST && words.length === 0);
  setText(more, all ? "Show fewer causes" : `Show all ${count(groups.length)} causes`);
  setText(byId("failures-none"), groups.length ? "Nothing that is shown matches. Each cause keeps its latest examples." : "No task has failed.");
}

function dropUnknown(state) {
  for (const [key, entry] of entries) {
    if (state.groups.has(key)) continue;
    entry.element.remove();
    entries.delete(key);
  }
}

function addEntry(group) {
  const number = make("span", { className: "times" });
  const summary = make("summary", {}, number, make("span", { className: "how" }, outcome(group.code)),
    make("span", { className: "why" }, group.line || "no message"));
  const body = make("div", { className: "examples" });
  const entry = { element: make("details", { className: "cause" }, summary), number, body, shown: "" };
  entry.element.append(body);
  entries.set(group.key, entry);
  return entry;
}

// Whether anything of the group matches all words.
function fill(entry, group, words) {
  setText(entry.number, `${count(group.count)} ×`);
  const ofGroup = `${group.line} ${outcome(group.code)}`.toLowerCase();
  const rest = words.filter((word) => !ofGroup.includes(word));
  const matching = group.examples.filter((e) => {
    const text = `${e.command} ${e.err} ${e.out} ${e.node} task ${e.task_id} line ${e.line_no}`.toLowerCase();
    return rest.every((word) => text.includes(word));
  });
  const shown = matching.map((e) => `${e.task_id} ${e.finish_s}`).join();
  if (shown !== entry.shown || !entry.body.hasChildNodes()) {
    entry.shown = shown;
    entry.body.replaceChildren(...matching.map(example));
    if (!group.examples.length) entry.body.append(make("p", { className: "note" }, `For example task ${group.task_id}.`));
  }
  return rest.length === 0 || matching.length > 0;
}

function example(e) {
  const where = [`line ${e.line_no}`, e.repeat_index >= 0 ? `repeat ${e.repeat_index}` : "", e.node, duration(e.elapsed_s), clock(e.finish_s)];
  const parts = [
    make("p", { className: "where" }, make("strong", {}, taskLink(e.task_id)), ` · ${where.filter(Boolean).join(" · ")}`),
    make("pre", { className: "command" }, e.command),
  ];
  if (e.err) parts.push(make("pre", { className: "err" }, make("span", { className: "stream" }, "stderr "), e.err.trimEnd()));
  if (e.out) parts.push(make("pre", { className: "out" }, make("span", { className: "stream" }, "stdout "), e.out.trimEnd()));
  return make("article", {}, ...parts);
}
