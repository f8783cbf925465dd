// Puts the parts of the page together: what comes in changes the state, and the state is drawn.

import { drawCharts, loadCharts } from "./charts.js";
import { byId } from "./dom.js";
import { drawEngines } from "./engines.js";
import { attachFailures, drawFailures } from "./failures.js";
import { drawFigures, drawMessages } from "./figures.js";
import { drawLink, drawNoWay } from "./link.js";
import { bearer, enter, enteredLater } from "./session.js";
import { newState, nowAt, stand, takeTick, takeWhole } from "./state.js";
import { attachSteering } from "./steer.js";
import { openStream } from "./stream.js";
import { attachTask } from "./task.js";
import { attachTimeline, redraw } from "./timeline.js";

const state = newState();
let steer; // undefined until it is known whether the page may act
let link = "connecting";

function draw() {
  drawFigures(state);
  drawMessages(state);
  drawFailures(state);
  drawEngines(state, steer);
  redraw();
  if (!document.hidden) drawCharts(state);
  document.documentElement.dataset.ticks = state.ticks;
}

function takeIn(take) {
  return (message) => {
    take(state, message);
    stand(state, null);
    if (steer === undefined) {
      steer = attachSteering(state.run);
      loadCharts().then(() => drawCharts(state));
    }
    if (state.end && !state.endedAt) {
      state.endedAt = nowAt(state);
      steer?.end();
    }
    draw();
  };
}

attachTimeline(state);
attachFailures(state);
let stream = null;

function linkIs(next) {
  link = next;
  if (!stream) return;
  // what nobody hears of does not go on
  stand(state, link === "live" || link === "late" ? null : stream.since_s());
  drawLink(link, stream, state);
  redraw();
}

async function begin() {
  try {
    if (!(await enter())) {
      drawNoWay();
      await enteredLater();
      drawLink("connecting", null, state);
    }
  } catch {
    linkIs("lost");
    drawLink("lost", null, state);
    setTimeout(begin, 2000);
    return;
  }
  attachTask();
  stream = openStream({ headers: bearer, onWhole: takeIn(takeWhole), onTick: takeIn(takeTick), onLink: linkIs });
  setInterval(() => link !== "live" && drawLink(link, stream, state), 1000);
}

// a fresh address in the place of this one is no new page to a browser
addEventListener("hashchange", () => location.hash.startsWith("#token=") && location.reload());
begin();
addEventListener("colours", () => state.counts && drawCharts(state, true));
document.addEventListener("visibilitychange", () => state.counts && draw());
byId("run-state").textContent = "connecting";
