// Puts the parts of the page together: what comes in changes the state, and the state is drawn.

import { drawCharts, loadCharts } from "./charts.js";
import { byId } from "./dom.js";
import { drawEngines } from "./engines.js";
import { attachFailures, drawFailures } from "./failures.js";
import { drawFigures, drawLink, drawMessages } from "./figures.js";
import { newState, nowAt, takeTick, takeWhole } from "./state.js";
import { attachSteering } from "./steer.js";
import { openStream } from "./stream.js";
import { attachTimeline, redraw } from "./timeline.js";

// The token has done its work: it is neither to stay in the address bar nor in the history.
history.replaceState(null, "", "/");

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
const stream = openStream({
  onWhole: takeIn(takeWhole),
  onTick: takeIn(takeTick),
  onLink: (next) => drawLink((link = next), stream?.age() ?? 0),
});
setInterval(() => (link === "late" || link === "lost") && drawLink(link, stream.age()), 1000);
addEventListener("colours", () => state.counts && drawCharts(state, true));
document.addEventListener("visibilitychange", () => state.counts && draw());
byId("run-state").textContent = "connecting";
