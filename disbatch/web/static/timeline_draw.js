// Draws the timeline: bars of tasks in the rows of their nodes, and a time axis below. Knows nothing of the document.
//
// A bar is [node, row, start, finish, tasks, failed, task, code, label], an open one [node, row, start, task, label];
// times are in seconds since the epoch.

import { printable } from "./format.js";

export const HEAD = 20; // of a node: its name
export const AXIS = 24;
const BETWEEN = 8;
const [LEAST_ROW, MOST_ROW, WANTED] = [5, 16, 300];

// Where each node's rows begin, in pixels from the top of everything.
export function arrange(rows) {
  const all = rows.reduce((sum, n) => sum + n, 0);
  const row = Math.max(LEAST_ROW, Math.min(MOST_ROW, Math.floor((WANTED - rows.length * (HEAD + BETWEEN)) / Math.max(1, all))));
  const tops = [];
  let y = 0;
  for (const n of rows) {
    tops.push(y + HEAD);
    y += HEAD + n * row + BETWEEN;
  }
  return { row, tops, height: y };
}

// `view`: width, height, scroll in pixels; from, to in seconds; place: of `arrange`.
export function draw(g, view, state, colours) {
  g.clearRect(0, 0, view.width, view.height);
  const ticks = drawAxis(g, view, colours);
  g.save();
  g.beginPath();
  g.rect(0, 0, view.width, view.height - AXIS);
  g.clip();
  drawGrid(g, view, ticks, colours);
  drawNodes(g, view, state, colours);
  drawBars(g, view, state.bars, colours);
  drawOpen(g, view, state, colours);
  drawBarriers(g, view, state.barriers, colours);
  if (view.picked) drawFrame(g, view, view.picked, colours);
  g.restore();
}

export const xOf = (view, at) => ((at - view.from) / (view.to - view.from)) * view.width;
const yOf = (view, node, row) => view.place.tops[node] + row * view.place.row - view.scroll;
const thick = (view) => view.place.row - (view.place.row > 7 ? 2 : 1);

function drawBars(g, view, bars, colours) {
  const height = thick(view);
  const scale = view.width / (view.to - view.from);
  const bottom = view.height - AXIS;
  const failed = [];
  g.fillStyle = colours.done;
  for (const bar of bars) {
    if (bar[3] < view.from || bar[2] > view.to) continue;
    const y = view.place.tops[bar[0]] + bar[1] * view.place.row - view.scroll;
    if (y > bottom || y + height < 0) continue;
    if (bar[5]) failed.push(bar);
    if (bar[5] === bar[4]) continue;
    const width = (bar[3] - bar[2]) * scale;
    // a pixel between neighbours, where there is room for it
    g.fillRect((bar[2] - view.from) * scale, y, width > 4 ? width - 1 : Math.max(width, 0.75), height);
  }
  g.fillStyle = colours.failed;
  for (const bar of failed) {
    const width = (bar[3] - bar[2]) * scale;
    // of several tasks in one bar: the share that failed, but always to be seen
    const part = Math.max(2, Math.round((height * bar[5]) / bar[4]));
    const y = view.place.tops[bar[0]] + bar[1] * view.place.row - view.scroll + height - part;
    g.fillRect((bar[2] - view.from) * scale, y, width > 4 ? width - 1 : Math.max(width, 1.5), part);
  }
}

function drawOpen(g, view, state, colours) {
  const height = thick(view);
  const end = Math.min(view.width, xOf(view, view.now));
  for (const [node, row, start] of state.open) {
    const x = Math.max(-2, xOf(view, start));
    if (x > view.width || end < 0) continue;
    const y = yOf(view, node, row);
    g.fillStyle = colours.runningSoft;
    g.fillRect(x, y, Math.max(1.5, end - x), height);
    g.fillStyle = colours.running;
    g.fillRect(x, y, 2, height);
    g.fillRect(Math.max(x, end - 2), y, 2, height);
  }
}

// Where something found is, in pixels: left, top, width, height.
export function boxOf(view, { bar, open }) {
  const [node, row, start] = bar ?? open;
  const [left, right] = [xOf(view, start), xOf(view, bar ? bar[3] : view.now)];
  return [left, yOf(view, node, row), Math.max(2, right - left), thick(view)];
}

// All that is at least partly shown, by its start.
export function shown(view, state) {
  const bars = state.bars.filter((bar) => bar[3] >= view.from && bar[2] <= view.to).map((bar) => ({ bar }));
  const open = state.open.filter((task) => task[2] <= view.to).map((task) => ({ open: task }));
  const key = (found) => found.bar ?? found.open;
  return [...bars, ...open].sort((a, b) => key(a)[2] - key(b)[2] || key(a)[0] - key(b)[0] || key(a)[1] - key(b)[1]);
}

function drawFrame(g, view, found, colours) {
  const [x, y, width, height] = boxOf(view, found);
  g.strokeStyle = colours.text;
  g.lineWidth = 2;
  g.strokeRect(x - 1, y - 1, width + 2, height + 2);
}

function drawNodes(g, view, state, colours) {
  g.font = `600 11px ${colours.font}`;
  g.textBaseline = "middle";
  state.nodes.forEach((name, node) => {
    const top = view.place.tops[node] - view.scroll;
    if (top > view.height || top + state.rows[node] * view.place.row < -HEAD) return;
    g.fillStyle = colours.track;
    for (let row = 0; row < state.rows[node]; row += 1) g.fillRect(0, top + row * view.place.row, view.width, thick(view));
    g.fillStyle = colours.text;
    g.fillText(fitting(g, printable(name), view.width * 0.6), 2, top - HEAD / 2);
  });
}

// What fits of a text, with an ellipsis where something is left out.
export function fitting(g, text, width) {
  if (text.length < 500 && g.measureText(text).width <= width) return text;
  let [fits, not] = [0, Math.min(text.length, 500)];
  while (not - fits > 1) {
    const middle = (fits + not) >> 1;
    if (g.measureText(`${text.slice(0, middle)}…`).width <= width) fits = middle;
    else not = middle;
  }
  return `${text.slice(0, fits)}…`;
}

function drawBarriers(g, view, barriers, colours) {
  g.strokeStyle = colours.text;
  g.lineWidth = 1;
  g.setLineDash([3, 3]);
  for (const at of barriers) {
    const x = Math.round(xOf(view, at)) + 0.5;
    if (x < 0 || x > view.width) continue;
    g.beginPath();
    g.moveTo(x, 0);
    g.lineTo(x, view.height - AXIS);
    g.stroke();
  }
  g.setLineDash([]);
}

// Returns where the ticks are, in pixels.
function drawAxis(g, view, colours) {
  const step = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600].find((s) => (s / (view.to - view.from)) * view.width > 70) ?? 43200;
  const withSeconds = step % 60 !== 0;
  const xs = [];
  g.font = `11px ${colours.font}`;
  g.textBaseline = "alphabetic";
  g.fillStyle = colours.muted;
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) {
    const x = xOf(view, at);
    xs.push(x);
    const when = new Date(at * 1000);
    const parts = [when.getHours(), when.getMinutes(), ...(withSeconds ? [when.getSeconds()] : [])];
    const text = parts.map((n) => String(n).padStart(2, "0")).join(":");
    const half = g.measureText(text).width / 2;
    g.fillText(text, Math.max(0, Math.min(view.width - 2 * half, x - half)), view.height - 7);
  }
  return xs;
}

function drawGrid(g, view, xs, colours) {
  g.fillStyle = colours.line;
  for (const x of xs) g.fillRect(Math.round(x), 0, 1, view.height);
}

// The task at a point: {bar} or {open}, or nothing. What is too narrow to be pointed at exactly goes before what is wide.
const NEAR = 3; // pixels
const NARROW = 4;

export function find(view, state, x, y) {
  let best = null;
  const look = (found, node, row, start, finish) => {
    const top = yOf(view, node, row);
    if (y < top || y >= top + view.place.row) return;
    const [left, right] = [xOf(view, start), xOf(view, finish)];
    const away = Math.max(left - x, x - right, 0);
    if (away > NEAR) return;
    const rank = right - left < NARROW ? away : away ? NEAR + away : NEAR;
    if (!best || rank < best.rank) best = { ...found, rank };
  };
  for (const open of state.open) look({ open }, open[0], open[1], open[2], view.now);
  for (const bar of state.bars) look({ bar }, bar[0], bar[1], bar[2], bar[3]);
  return best;
}
