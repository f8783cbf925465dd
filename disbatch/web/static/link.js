// How the contact with the driver is, and what to do when there is none.

import { byId, setText, show } from "./dom.js";
import { clock, duration } from "./format.js";

const HINT_S = 60; // after which it may not come back by itself
const LINKS = {
  live: "live",
  late: "no news: the driver is busy, or the network is slow",
  full: "too many viewers, trying again",
  ended: "ended",
  connecting: "connecting",
};

// `stream` is null until there is one.
export function drawLink(link, stream, state) {
  const lost = link === "lost" || link === "refused";
  byId("link").dataset.link = link;
  document.documentElement.dataset.contact = lost ? "lost" : "";
  setText(byId("link-text"), lost ? noContact(stream) : LINKS[link] + (link === "late" ? ` (${duration(Math.max(1, stream.age_s()))} ago)` : ""));
  if (lost) pill("no contact"); // the next change that comes says what the state is
  const hint = lost && stream?.age_s() > HINT_S && state.run;
  if (hint) {
    const { host, log_file, status_file } = state.run;
    setText(byId("contact"), `There has been ${noContact(stream)}; what you see is from then. Is disBatch still running on ${host}, and the network, or ` +
      `your ssh tunnel, up? The end of ${log_file} says more; ${status_file} has what is done.`);
  }
  show(byId("contact"), Boolean(hint));
}

function pill(text) {
  setText(byId("run-state"), text);
  byId("run-state").dataset.state = "lost";
}

const noContact = (stream) => (stream ? `no contact since ${clock(stream.since_s())}` : "no contact");

// There is no session, and no address that opens one.
export function drawNoWay() {
  byId("link").dataset.link = "refused";
  document.documentElement.dataset.contact = "lost";
  setText(byId("link-text"), "not let in");
  pill("not let in");
  setText(byId("contact"), "403: this address was opened before, is too old, or lacks its token. A fresh one is always in PREFIX_url, where the run's files are: " +
    "open what is in there. Where the page is open in another tab of this browser, it opens here, too.");
  show(byId("contact"), true);
}
