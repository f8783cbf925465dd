// The table of engines. Its rows stay the same elements as long as the engines do, so that focus and selection stay.

import { byId, make, setText, show } from "./dom.js";
import { count, duration } from "./format.js";

const GIB = 1024 ** 2; // in KiB
const gib = (kib) => (kib / GIB).toFixed(kib < 10 * GIB ? 1 : 0);
const load = (e) => (e.load === null ? "–" : `${e.load.toFixed(1)}/${e.cpus ?? "?"}`);
const memory = (e) => (e.mem_used_kib === null ? "–" : `${gib(e.mem_used_kib)}/${gib(e.mem_total_kib)} GiB`);
const stateText = (e) => `${e.state.toLowerCase()}${e.silent_s ? `, silent for ${duration(e.silent_s)}` : ""}`;

// heading, value to sort by, text, class
const COLUMNS = [
  { head: "Node", of: (e) => e.node, text: (e) => e.node, kind: "node" },
  { head: "Context", of: (e) => e.context, text: (e) => e.context, kind: "wide context" },
  { head: "State", of: (e) => e.state, text: stateText, kind: "state" },
  { head: "Slots", of: (e) => e.busy / Math.max(1, e.slots), text: (e) => `${e.busy}/${e.slots}`, kind: "slots" },
  { head: "Ended", of: (e) => e.finished, text: (e) => count(e.finished), kind: "number" },
  { head: "Failed", of: (e) => e.failed, text: (e) => count(e.failed), kind: "number" },
  { head: "Load", of: (e) => e.load ?? -1, text: load, kind: "number wide" },
  { head: "Memory", of: (e) => e.mem_used_kib ?? -1, text: memory, kind: "number wide" },
];
const TITLES = { Load: "Load of the node over its processors", Memory: "Memory in use on the node, and all of it" };
const GONE = new Set(["STOPPED", "LOST"]);

const table = byId("engines");
const rows = new Map();
let sorted = { column: COLUMNS[0], down: false };

export function drawEngines(state, steer) {
  const engines = [...state.engines.values()];
  if (!engines.length) return;
  if (!table.tHead) drawHead(state, steer);
  // one context is no news; nobody need be told its name in every row
  table.classList.toggle("one-context", state.contexts.length < 2);
  if (steer) drawContexts(state.contexts, steer);
  const body = table.tBodies[0];
  engines.sort(byColumn);
  engines.forEach((engine, at) => {
    const row = rows.get(engine.rank) ?? addRow(engine, steer);
    fill(row, engine);
    if (body.rows[at] !== row.element) body.insertBefore(row.element, body.rows[at] ?? null);
  });
  const living = state.contexts.reduce((sum, context) => sum + context.engines, 0);
  const gone = state.end ? 0 : engines.length - living;
  setText(byId("engines-count"), `${count(state.end ? engines.length : living)}${gone > 0 ? `, and ${count(gone)} gone` : ""}${gone < 0 ? `, ${count(engines.length)} are listed` : ""}`);
}

// Contexts can be stopped as a whole.
function drawContexts(contexts, steer) {
  const box = byId("contexts");
  const living = contexts.filter((context) => !GONE.has(context.state));
  const key = living.map((context) => `${context.label} ${context.state}`).join();
  if (box.dataset.key === key) return;
  box.dataset.key = key;
  box.replaceChildren(...living.map((context) => {
    const button = make("button", { type: "button", className: "quiet", onclick: () => steer.askContext(context.label) }, `Stop ${context.label}…`);
    button.disabled = context.state === "STOPPING";
    return button;
  }));
}

function drawHead(state, steer) {
  const heads = COLUMNS.map((column) => {
    const button = make("button", { type: "button", onclick: () => sortBy(column, state, steer) }, column.head);
    if (TITLES[column.head]) button.title = TITLES[column.head];
    return make("th", { scope: "col", className: column.kind }, button);
  });
  if (steer) heads.push(make("th", { scope: "col", className: "act" }, make("span", { className: "unseen" }, "Stop")));
  table.replaceChildren(make("thead", {}, make("tr", {}, ...heads)), make("tbody"));
}

function sortBy(column, state, steer) {
  sorted = { column, down: sorted.column === column && !sorted.down };
  [...table.tHead.rows[0].cells].forEach((head, at) => {
    if (COLUMNS[at] === column) head.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  });
  drawEngines(state, steer);
}

function byColumn(a, b) {
  const [x, y] = [sorted.column.of(a), sorted.column.of(b)];
  const order = typeof x === "string" ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
  return (sorted.down ? -order : order) || a.rank - b.rank;
}

function addRow(engine, steer) {
  const cells = COLUMNS.map((column) => make("td", { className: column.kind }));
  const row = { cells, element: make("tr", {}, ...cells), button: null };
  const meter = COLUMNS.findIndex((column) => column.kind === "slots");
  cells[meter].append(make("span", { className: "meter" }, make("span")), make("span", { className: "meter-text" }));
  if (steer) {
    row.button = make("button", { type: "button", className: "quiet", onclick: () => steer.askEngine(engine) }, "Stop…");
    row.button.setAttribute("aria-label", `Stop engine ${engine.rank} on ${engine.node}`);
    row.element.append(make("td", { className: "act" }, row.button));
  }
  rows.set(engine.rank, row);
  return row;
}

function fill(row, engine) {
  row.element.dataset.state = engine.state;
  COLUMNS.forEach((column, at) => {
    const cell = row.cells[at];
    if (column.kind !== "slots") {
      setText(cell, column.text(engine));
      return;
    }
    const [meter, text] = cell.children;
    meter.firstChild.style.width = `${Math.min(100, (100 * engine.busy) / Math.max(1, engine.slots))}%`;
    setText(text, column.text(engine));
  });
  if (!row.button) return;
  row.button.disabled = engine.state === "STOPPING";
  show(row.button, !GONE.has(engine.state));
}
