// The stream of changes, one for all tabs of a browser: it opens only six connections to a host. The tab that has the lock
// reads the stream and tells the others; when it is closed, another one gets the lock and goes on. Where there are no locks (a
// page that is not on loopback), each tab reads for itself.
//
// Tells how the contact is: `live`, `late` when nothing has come for a while, `lost`, `refused`, `full`, `ended`.

import { readEvents } from "./events.js";

const LATE_MS = 5000; // a change comes every few seconds
const LOST_MS = 15000;
const AGAIN_MS = 2000;
const TABS = "disbatch-stream";
const REFUSALS = { 403: "refused", 503: "full" };

export function openStream({ headers, onWhole, onTick, onLink }) {
  const tabs = new BroadcastChannel(TABS);
  let seen = null; // number of the newest change
  let waiting = []; // changes that came before the whole picture
  let last = Date.now(); // of the latest contact
  let link = "connecting";
  let reading = new AbortController();
  let leads = false;

  function tell(next) {
    if (next !== link && link !== "ended") onLink((link = next));
  }

  function arrived({ name, number, text }) {
    last = Date.now();
    if (name === "whole") take(onWhole, number, text);
    else if (seen === null) waiting.push({ name, number, text });
    else if (number > seen) take(onTick, number, text);
  }

  function take(handle, number, text) {
    const message = JSON.parse(text);
    seen = number;
    handle(message);
    tell(message.end ? "ended" : "live");
    const later = waiting;
    waiting = [];
    later.forEach(arrived);
  }

  // Of a tab that does not read the stream itself.
  async function fetchWhole() {
    try {
      const response = await fetch("/picture", { headers: headers(), signal: AbortSignal.timeout(LOST_MS) });
      if (!response.ok) return tell(REFUSALS[response.status] ?? "lost");
      const text = await response.text();
      if (!leads) arrived({ name: "whole", number: JSON.parse(text).number, text });
    } catch {
      tell("lost");
    }
  }

  async function lead() {
    leads = true;
    while (link !== "ended") {
      reading = new AbortController();
      const onEvent = (name, number, text) => {
        const event = { name, number, text };
        // a whole picture is for whoever has nothing, or has missed something: so have the others
        tabs.postMessage(event);
        arrived(event);
      };
      const status = await readEvents({ headers: headers(), seen, signal: reading.signal, onEvent, onOpen: () => (last = Date.now()) });
      if (link === "ended") return;
      tell(REFUSALS[status] ?? "lost");
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  // Where something may have changed with the network: a new connection rather than one that may hang.
  function again() {
    if (leads) reading.abort();
    else if (Date.now() - last > LATE_MS) fetchWhole();
  }

  tabs.onmessage = ({ data }) => !leads && arrived(data);
  addEventListener("online", again);
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Date.now() - last > LATE_MS) again();
  });
  setInterval(() => {
    const silent = Date.now() - last;
    if (silent > LOST_MS && (link === "live" || link === "late")) tell("lost");
    else if (silent > LATE_MS && link === "live") tell("late");
  }, 1000);
  if (navigator.locks) {
    navigator.locks.request(TABS, lead);
    // somebody else has it, or it is ours by now
    setTimeout(() => !leads && fetchWhole(), 100);
  } else lead();
  return { age_s: () => (Date.now() - last) / 1000, since_s: () => last / 1000 };
}
