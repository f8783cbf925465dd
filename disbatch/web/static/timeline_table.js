// The bars of the timeline as a table, for whoever cannot see them or point at them. Filled while it is open only.

import { byId, make, setText } from "./dom.js";
import { clock } from "./format.js";

const MOST = 200; // rows: the newest

// `found`: bars and what runs, by their starts; `describe`: what is known of one.
export function fillBars(found, state, describe) {
  const table = byId("bars-table");
  const newest = found.slice(-MOST).reverse();
  const key = newest.map(({ bar, open }) => (bar ? `${bar[6]} ${bar[3]}` : `${open[3]} runs`)).join();
  if (table.dataset.key === key) return;
  table.dataset.key = key;
  const rows = newest.map((one) => {
    const { title, text, label, node } = describe(one);
    const cells = [title, state.nodes[node], clock((one.bar ?? one.open)[2]), text, label].map((word) => make("td", {}, word));
    return make("tr", {}, ...cells);
  });
  table.tBodies[0].replaceChildren(...rows);
  setText(table.caption, newest.length < found.length ? `The newest ${MOST} of ${found.length} bars that are shown` : "All bars that are shown, the newest first");
}
