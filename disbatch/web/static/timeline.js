// The timeline on the page: which minutes it shows, dragging, zooming, and what is under the pointer.

import { byId, colour, make, setText, show } from "./dom.js";
import { clock, count, counted, duration, outcome } from "./format.js";
import { gaps, nowAt } from "./state.js";
import { fillBars } from "./timeline_table.js";
import { AXIS, arrange, boxOf, draw, find, shown } from "./timeline_draw.js";

const SPANS = [[30, "30 s"], [120, "2 min"], [600, "10 min"], [3600, "1 h"]];
const [SHORTEST_S, LONGEST_S] = [5, 86400];
const MOST_HEIGHT = 440;
const MARGIN_S = 0.02; // of the span, free at the right of now
const LEAST_SHOWN_S = 10; // of a run that has just begun
const TASKS_ACROSS = 8; // of middling length, at least: then there is something to see and to compare

const GAPS = {
  bars: (at) => `Tasks that ended before ${clock(at)} are no longer kept.`,
  running: (most) => `Of what runs now, the ${count(most)} tasks that have run longest are shown.`,
  nodes: (most) => `These are the first ${count(most)} nodes.`,
};

const canvas = byId("timeline");
const box = byId("timeline-view");
const tip = byId("tip");
const g = canvas.getContext("2d");
let state = null;
let view = { from: 0, to: 1, width: 1, height: 1, scroll: 0, now: 0, place: arrange([]) };
let span = 30;
let chosen = false; // by the person who looks; until then the span fits how long tasks take
let picked = null; // what the keys have come to: {bar} or {open}
let behind = 0; // seconds before now that the right edge stands at
let colours = {};
let wanted = false;

export function attachTimeline(theState) {
  state = theState;
  for (const [seconds, text] of SPANS) {
    const button = make("button", { type: "button", onclick: () => setSpan(seconds) }, text);
    button.dataset.seconds = seconds;
    byId("spans").append(button);
  }
  byId("live").addEventListener("click", () => lookBack(0));
  addEventListener("colours", readColours);
  new ResizeObserver(redraw).observe(box);
  box.addEventListener("scroll", redraw);
  attachPointer();
  canvas.addEventListener("keydown", pressed);
  canvas.addEventListener("blur", hideTip);
  byId("bars").addEventListener("toggle", redraw);
  readColours();
  setSpan(span, false);
  keepMoving();
}

export function redraw() {
  if (wanted || !state?.counts) return;
  wanted = true;
  requestAnimationFrame(() => {
    wanted = false;
    drawNow();
  });
}

function drawNow() {
  const began = performance.now();
  if (!chosen) fitSpan();
  const place = arrange(state.rows);
  const height = Math.min(MOST_HEIGHT, Math.max(60, place.height + AXIS));
  const width = box.clientWidth;
  const now = nowAt(state);
  const shownSpan = behind ? span : Math.min(span, Math.max(LEAST_SHOWN_S, now - state.run.began_s));
  const to = now - behind + (behind ? 0 : shownSpan * MARGIN_S);
  resize(width, height, place.height + AXIS);
  view = { width, height, scroll: box.scrollTop, from: to - shownSpan, to, now, place, picked: document.activeElement === canvas ? picked : null };
  draw(g, view, state, colours);
  if (byId("bars").open) fillBars(shown(view, state), state, describe);
  const missing = gaps(state, view.from).map(([what, detail]) => GAPS[what](detail)).join(" ");
  setText(byId("timeline-gaps"), missing);
  show(byId("timeline-gaps"), missing !== "");
  canvas.dataset.frameMs = (performance.now() - began).toFixed(2);
  canvas.dataset.now = now;
  canvas.dataset.bars = state.bars.length;
  const busy = state.open.length;
  canvas.setAttribute("aria-label", `Timeline of slots on ${counted(state.nodes.length, "node")}: ${counted(busy, "running task")}; the last ${duration(span)} are shown`);
}

function resize(width, height, all) {
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  byId("timeline-space").style.height = `${all}px`;
  box.style.height = `${height}px`;
}

// Moves on by itself, by half a pixel at a time and no oftener than that.
function keepMoving() {
  const ms = Math.max(40, Math.min(1000, (span / view.width) * 500));
  setTimeout(() => {
    if (!state.end && state.standsAt === null && !behind) redraw();
    keepMoving();
  }, ms);
}

function readColours() {
  colours = Object.fromEntries(["done", "failed", "running", "text", "muted", "line", "track"].map((name) => [name, colour(`--${name}`)]));
  colours.runningSoft = `${colours.running}66`;
  colours.font = getComputedStyle(document.body).fontFamily;
  redraw();
}

// Only ever to a longer span: a picture that changes its scale to and fro is hard to read.
function fitSpan() {
  const lengths = state.bars.slice(-200).map((bar) => (bar[3] - bar[2]) / bar[4]);
  for (const open of state.open) lengths.push(nowAt(state) - open[2]);
  const middling = lengths.sort((a, b) => a - b)[lengths.length >> 1] ?? 0;
  const [fitting] = SPANS.find(([seconds]) => seconds >= TASKS_ACROSS * middling) ?? SPANS.at(-1);
  if (fitting > span) setSpan(fitting, false);
}

function setSpan(seconds, byHand = true) {
  chosen ||= byHand;
  span = Math.max(SHORTEST_S, Math.min(LONGEST_S, seconds));
  for (const button of byId("spans").children) button.setAttribute("aria-pressed", Number(button.dataset.seconds) === span);
  redraw();
}

function lookBack(seconds) {
  const longest = state.counts ? state.counts.elapsed_s : 0;
  behind = Math.max(0, Math.min(longest, seconds));
  chosen ||= behind > 0;
  show(byId("live"), behind > 0);
  redraw();
}

function pressed(event) {
  const moves = {
    ArrowLeft: () => lookBack(behind + span / 8), ArrowRight: () => lookBack(behind - span / 8), Home: () => lookBack(Infinity),
    ArrowUp: () => step(-1), ArrowDown: () => step(1), End: () => lookBack(0), "+": () => setSpan(span / 1.5), "=": () => setSpan(span / 1.5), "-": () => setSpan(span * 1.5), Escape: hideTip,
  };
  const move = moves[event.key];
  if (!move || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  move();
}

// To the bar that began before or after the one that is picked.
function step(by) {
  if (!state.counts) return;
  const all = shown(view, state);
  const id = (found) => (found.bar ? `${found.bar[6]} ${found.bar[2]}` : `${found.open[3]} open`);
  const at = picked ? all.findIndex((found) => id(found) === id(picked)) : -1;
  picked = all[at < 0 ? (by < 0 ? all.length - 1 : 0) : Math.max(0, Math.min(all.length - 1, at + by))] ?? null;
  if (!picked) return hideTip();
  const row = view.place.tops[(picked.bar ?? picked.open)[0]] + (picked.bar ?? picked.open)[1] * view.place.row;
  if (row < box.scrollTop || row > box.scrollTop + view.height - 2 * AXIS) box.scrollTop = Math.max(0, row - AXIS);
  view = { ...view, scroll: box.scrollTop };
  const area = canvas.getBoundingClientRect();
  const [left, top, width, height] = boxOf(view, picked);
  showFound(picked, area.left + Math.max(0, left) + Math.min(width, 40), area.top + top + height);
  redraw();
}

function attachPointer() {
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, behind };
    if (event.pointerType === "mouse") canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (drag && Math.abs(event.clientX - drag.x) > 4) {
      hideTip();
      lookBack(drag.behind + ((event.clientX - drag.x) / view.width) * span);
    } else if (!drag) showTip(event);
  });
  canvas.addEventListener("pointerup", (event) => {
    const moved = drag && Math.abs(event.clientX - drag.x) > 4;
    drag = null;
    if (!moved) showTip(event);
  });
  canvas.addEventListener("pointercancel", () => (drag = null));
  canvas.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hideTip());
  addEventListener("pointerdown", (event) => event.target !== canvas && hideTip());
}

function hideTip() {
  show(tip, false);
}

function showTip(event) {
  const at = canvas.getBoundingClientRect();
  const found = state.counts && find(view, state, event.clientX - at.left, event.clientY - at.top);
  if (!found) return hideTip();
  showFound(found, event.clientX, event.clientY);
}

// What is known of a bar: title, text, beginning of the command, node.
const describe = (found) => (found.bar ? ofBar(found.bar) : ofOpen(found.open));

function showFound(found, x, y) {
  const { title, text, label, node } = describe(found);
  tip.replaceChildren(make("strong", {}, title), make("span", {}, `${text} · ${state.nodes[node]}`), make("code", {}, label));
  tip.className = `tip ${found.open ? "running" : found.bar[5] ? "failed" : "done"}`;
  show(tip, true);
  const card = tip.offsetParent.getBoundingClientRect();
  const left = x - card.left + 12;
  tip.style.left = `${Math.max(8, Math.min(left, card.width - tip.offsetWidth - 8))}px`;
  tip.style.top = `${y - card.top + 16}px`;
}

function ofBar([node, , start, finish, tasks, failed, task, code, label]) {
  const took = `${duration(finish - start)}, ended ${clock(finish)}`;
  if (tasks > 1) {
    const how = failed ? `, ${failed} failed` : "";
    return { node, title: `${tasks} short tasks${how}`, text: took, label: `from task ${task}: ${label}` };
  }
  const name = task < 0 ? `PERENGINE command ${-1 - task}` : `Task ${task}`;
  return { node, title: `${name}: ${outcome(code)}`, text: took, label };
}

function ofOpen([node, , start, task, label]) {
  return { node, title: `Task ${task} runs`, text: `for ${duration(nowAt(state) - start)}`, label };
}

