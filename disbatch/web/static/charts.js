// Throughput and running tasks over time, drawn by plotly.js as the Python package brings it. It is large: it is asked
// for when everything else is there, and the page does without where it does not come.

import { byId, colour, show } from "./dom.js";
import { counted, duration, rate } from "./format.js";
import { chartsAddress } from "./session.js";
import { series } from "./state.js";

const CONFIG = { displayModeBar: false, responsive: true, showTips: false };
let plotly = null;
let drawn = "";

export async function loadCharts() {
  if (!(await loadScript(chartsAddress()))) {
    byId("charts-note").textContent = "The charts could not be loaded; everything else works.";
    return;
  }
  plotly = window.Plotly;
  show(byId("charts-note"), false);
}

function loadScript(address) {
  // plotly.js brings a style sheet for maps, which this page has none of and which its policy forbids
  const append = document.head.appendChild;
  document.head.appendChild = function (node) {
    return node.tagName === "STYLE" && node.textContent ? node : append.call(this, node);
  };
  return new Promise((resolve) => {
    const script = document.createElement("script");
    const done = (loaded) => {
      delete document.head.appendChild;
      resolve(loaded);
    };
    script.onload = () => done(true);
    script.onerror = () => done(false);
    script.src = address;
    append.call(document.head, script);
  });
}

export function drawCharts(state, anew = false) {
  if (!plotly || state.history.length < 2) return;
  const key = `${state.history.length} ${state.history.at(-1)[0]}`;
  if (key === drawn && !anew) return;
  drawn = key;
  const [t, done, failed, running] = series(state.history);
  const { slots } = state.counts;
  const elapsed = t.map((seconds) => duration(seconds));
  plotly.react("chart-rate", [
    area(t, done, "done", colour("--done"), elapsed),
    line(t, failed, "failed", colour("--failed"), elapsed),
  ], layout(t), CONFIG);
  plotly.react("chart-running", [area(t, running, "running", colour("--running"), elapsed)], layout(t, slots), CONFIG);
  byId("chart-rate").setAttribute("aria-label", `Tasks per second over time; now ${rate(done.at(-1))} done, ${rate(failed.at(-1))} failed`);
  byId("chart-running").setAttribute("aria-label", `Running tasks over time; now ${running.at(-1)} on ${counted(slots, "slot")}`);
}

function line(x, y, name, shade, text) {
  return { x, y, name, text, type: "scatter", mode: "lines", line: { color: shade, width: 1.6, shape: "linear" },
    hovertemplate: `%{y:.3~s} ${name}<extra></extra>` };
}

function area(x, y, name, shade, text) {
  return { ...line(x, y, name, shade, text), fill: "tozeroy", fillcolor: `${shade}2e` };
}

function layout(t, slots = 0) {
  const [text, grid] = [colour("--muted"), colour("--line")];
  const axis = { color: text, gridcolor: grid, zeroline: false, fixedrange: true, tickfont: { size: 11 } };
  return {
    margin: { l: 42, r: 8, t: 6, b: 26 }, height: 190, showlegend: false, hovermode: "x unified",
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: text, family: "inherit" },
    hoverlabel: { bgcolor: colour("--card"), bordercolor: grid, font: { color: colour("--text"), size: 12 } },
    xaxis: { ...axis, showgrid: false, ...ticks(t.at(-1)), range: [0, Math.max(10, t.at(-1))], unifiedhovertitle: { text: "%{x} s" } },
    yaxis: { ...axis, rangemode: "tozero", nticks: 5, tickformat: "~s" },
    shapes: slots ? [{ type: "line", xref: "paper", x0: 0, x1: 1, y0: slots, y1: slots, line: { color: text, width: 1, dash: "dot" } }] : [],
  };
}

// Round distances of time, rather than of numbers.
function ticks(last) {
  const steps = [2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400];
  const step = steps.find((s) => last / s <= 6) ?? 86400 * Math.ceil(last / 86400 / 6);
  const tickvals = [];
  for (let at = step; at <= Math.max(10, last); at += step) tickvals.push(at);
  return { tickvals, ticktext: tickvals.map((at) => duration(at).replace(".0 s", " s")) };
}
