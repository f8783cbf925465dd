// The top of the page: name and state of the run, progress, figures, messages.

import { byId, make, setText, show } from "./dom.js";
import { clock, count, duration, percent, printable, rate } from "./format.js";
import { finished, secondsLeft, waiting } from "./state.js";

const TILES = [
  ["done", "Done"], ["failed", "Failed"], ["running", "Running"], ["waiting", "Waiting"], ["skipped", "Skipped"],
  ["rate", "Tasks per second"],
];
const tiles = new Map();
for (const [name, label] of TILES) {
  const value = make("dd", { className: "figure", id: `figure-${name}` }, "–");
  const tile = make("div", { className: `tile ${name}` }, make("dt", {}, label), value);
  byId("tiles").append(tile);
  tiles.set(name, { tile, value });
}

export function drawFigures(state) {
  const { run, counts: s, end } = state;
  setText(byId("run-name"), run.name);
  drawState(s, end);
  drawProgress(state);
  for (const name of ["done", "failed", "running", "skipped"]) setText(tiles.get(name).value, count(s[name]));
  const ahead = waiting(s);
  setText(tiles.get("waiting").value, ahead === null ? `${count(s.ready)}${end ? "" : "+"}` : count(ahead));
  setText(tiles.get("rate").value, rate(end ? (s.done + s.failed) / Math.max(s.elapsed_s, 0.001) : s.rate));
  tiles.get("failed").tile.classList.toggle("some", s.failed > 0);
  show(tiles.get("skipped").tile, s.skipped > 0);
  const facts = [`Run ${run.job_id} on ${run.host}`, `began ${clock(run.began_s)}`, run.status_file, `disBatch ${run.version}`];
  setText(byId("facts"), facts.join(" · "));
}

function drawState(s, end) {
  const pill = byId("run-state");
  const waits = s.barrier ? `waiting at ${s.barrier.replace("#DISBATCH ", "")}` : "";
  const whole = end?.ending === "COMPLETE"; // failed tasks are a result, too; what has not been run is none
  if (end) setText(pill, !whole ? "ended early" : s.failed ? `ended, ${count(s.failed)} failed` : "all done");
  else setText(pill, s.state === "running" ? waits || "running" : "ending");
  pill.dataset.state = end ? (!whole ? "bad" : s.failed ? "mixed" : "good") : s.state === "running" ? "running" : "ending";
  const banner = byId("banner");
  if (end) setText(banner, `The run has ended: ${end.text}. Exit code ${end.exit_code}. This is its last picture${end.saved ? `, kept in ${end.saved}` : ""}; the page is served no more.`);
  else if (s.state !== "running") setText(banner, `The run is ending: ${s.state}.`);
  show(banner, Boolean(end) || s.state !== "running");
}

function drawProgress(state) {
  const { counts: s, end } = state;
  const over = finished(s);
  const all = s.total ?? Math.max(over + s.running + s.ready, 1);
  const share = s.total === null ? "" : percent(over, s.total);
  setText(byId("percent"), share || count(over));
  setText(byId("of"), s.total === null ? "tasks finished" : `${count(over)} of ${count(s.total)} tasks`);
  setText(byId("elapsed"), duration(s.elapsed_s));
  const left = end ? null : secondsLeft(s);
  setText(byId("left"), end ? " in all" : left === null ? " so far" : ` so far, ${duration(left)} left`);
  const bar = byId("bar");
  for (const part of bar.children) {
    part.style.width = `${(100 * s[part.className]) / all}%`;
  }
  if (s.total === null) bar.removeAttribute("aria-valuenow");
  else bar.setAttribute("aria-valuenow", Math.floor((100 * over) / all));
  const name = printable(state.run.name);
  document.title = end ? `Ended · ${name}` : `${share || count(over)} · ${name}`;
}

export function drawMessages(state) {
  const list = byId("messages");
  const key = `${state.messages.length} ${state.messages.at(-1)?.[0]} ${state.messages.at(-1)?.[2]}`;
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(
    ...state.messages.toReversed().map(([at, level, text]) =>
      make("li", { className: level }, make("time", {}, clock(at)), make("span", {}, level === "note" ? text : `${level}: ${text}`))),
  );
  show(byId("messages-none"), state.messages.length === 0);
}
