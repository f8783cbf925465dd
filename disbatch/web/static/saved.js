// The page as it is kept when the run is over: one picture, which is in the page itself, and nobody to ask.

import { byId, setText, show } from "./dom.js";
import { drawEngines } from "./engines.js";
import { attachFailures, drawFailures } from "./failures.js";
import { drawFigures, drawMessages } from "./figures.js";
import { newState, takeWhole } from "./state.js";
import { attachTimeline, redraw } from "./timeline.js";

const picture = JSON.parse(byId("picture").textContent);
const state = newState();
attachTimeline(state);
attachFailures(state);
takeWhole(state, picture);
state.endedAt = picture.now_s;
byId("link").dataset.link = "ended";
setText(byId("link-text"), "ended");
show(document.querySelector(".charts"), false);
drawFigures(state);
drawMessages(state);
drawFailures(state);
drawEngines(state, null);
redraw();
