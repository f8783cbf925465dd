// What the page may ask of the run, where it was given control. Each is asked first.

import { byId, setText, show } from "./dom.js";
import { bearer } from "./session.js";

const dialog = byId("ask");

// null where the page may only look.
export function attachSteering(run) {
  if (!run.control) return null;
  byId("ask-no").addEventListener("click", () => dialog.close());
  byId("drain").addEventListener("click", () => ask({
    title: "Finish the run early?", yes: "Finish early", order: { what: "drain" },
    text: "Nothing more is started. What runs is finished, and the run ends with the command that resumes it.",
  }));
  byId("stop").addEventListener("click", () => ask({
    title: "Stop the run?", yes: "Stop run", order: { what: "stop" },
    text: "What runs gets TERM, and KILL if it does not end. Stopped tasks are still to do when the run is resumed.",
  }));
  show(byId("run-control"), true);
  return { askEngine, askContext, end };
}

// The run is over: there is nothing to ask any more.
function end() {
  dialog.close();
  for (const controls of document.querySelectorAll(".run-control, .act")) show(controls, false);
}

function askEngine({ rank, node }) {
  ask({
    title: `Stop engine ${rank} on ${node}?`, yes: "Stop engine", order: { what: "engine", name: String(rank) },
    text: "It takes no more tasks, finishes what it runs, and leaves. The others go on.",
  });
}

function askContext(label) {
  ask({
    title: `Stop ${label}?`, yes: "Stop context", order: { what: "context", name: label },
    text: "Its engines take no more tasks, finish what they run, and leave. Other contexts go on.",
  });
}

function ask({ title, text, yes, order }) {
  setText(byId("ask-title"), title);
  setText(byId("ask-text"), text);
  setText(byId("ask-yes"), yes);
  setText(byId("ask-no"), "Cancel");
  show(byId("ask-yes"), true);
  byId("ask-yes").onclick = () => give(order);
  dialog.showModal();
  byId("ask-no").focus();
}

async function give(order) {
  show(byId("ask-yes"), false);
  setText(byId("ask-text"), "Asking…");
  setText(byId("ask-no"), "Close");
  setText(byId("ask-text"), await send(order));
}

// What is said in answer.
async function send(order) {
  try {
    const response = await fetch("/control", {
      method: "POST", headers: { ...bearer(), "Content-Type": "application/json" }, body: JSON.stringify(order),
    });
    const answer = await response.json().catch(() => ({}));
    return answer.told ? `Done: ${answer.told}.` : `Not done: ${answer.error ?? `the driver answers ${response.status}`}.`;
  } catch {
    return "Not done: the driver cannot be reached.";
  }
}
