// The way in. The address has a ticket behind `#`, which opens one session; the session is kept for this origin alone, and
// every request for something of the run shows it in a header. No cookie: that would go to all ports of this host.

const KEY = "disbatch-session";
const TABS = "disbatch-tabs";
const ASK_MS = 1000;
const ANSWER_MS = 3000; // for another tab of this page to say what it has; one that draws charts takes a while

let session = null;
let ticket = null;
let charts = null;
let channel = null; // on which other tabs ask

export const bearer = () => ({ Authorization: `Bearer ${session}` });
export const chartsAddress = () => charts;

// Whether there is a session now; else `why` is told to the person. Throws where the driver cannot be reached.
export async function enter() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  // the ticket is neither to stay in the address bar nor in the history; it is kept until the driver has said what it is worth
  if (given) history.replaceState(null, "", "/");
  ticket = given ?? ticket;
  shareWithTabs();
  for (const found of [stored, () => ticket && exchanged(ticket), () => askTabs(ANSWER_MS)]) {
    const made = await found();
    if (made && (await greets(made))) return true;
  }
  return false;
}

function stored() {
  try {
    return sessionStorage.getItem(KEY);
  } catch {
    return null; // a browser that keeps nothing
  }
}

async function exchanged(made) {
  const response = await fetch("/session", { method: "POST", body: made });
  ticket = null;
  return response.ok ? (await response.json()).session : null;
}

// A session of a run before this one, on the same port, is none.
async function greets(made) {
  const response = await fetch("/session", { headers: { Authorization: `Bearer ${made}` } });
  if (!response.ok) return false;
  session = made;
  ({ charts } = await response.json());
  try {
    sessionStorage.setItem(KEY, made);
  } catch {
    // it has to be opened anew after each reload
  }
  return true;
}

// Resolves when a tab of this origin has a session that opens the page: one that is busy, or one that is opened later.
export async function enteredLater() {
  while (!(await greets(await askTabs(Infinity)))) await new Promise((resolve) => setTimeout(resolve, ASK_MS));
}

// What another tab of this origin has; null when none has said so for so long.
function askTabs(most_ms) {
  return new Promise((resolve) => {
    const channel = new BroadcastChannel(TABS);
    const until = Date.now() + most_ms;
    const ask = () => (Date.now() < until ? channel.postMessage({ asks: true }) : done(null));
    const asking = setInterval(ask, ASK_MS);
    const done = (found) => {
      clearInterval(asking);
      channel.close();
      resolve(found);
    };
    channel.onmessage = ({ data }) => data.session && done(data.session);
    ask();
  });
}

function shareWithTabs() {
  channel ??= new BroadcastChannel(TABS);
  channel.onmessage = ({ data }) => data.asks && session && channel.postMessage({ session });
}
