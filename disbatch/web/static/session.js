// The way in. The address has a ticket behind `#`, which opens one session; the session is kept for this origin alone, and
// every request for something of the run shows it in a header. No cookie: that would go to all ports of this host.

const KEY = "disbatch-session";
const TABS = "disbatch-tabs";
const ANSWER_MS = 3000; // for another tab of this page to say what it has

let session = null;
let charts = null;

export const bearer = () => ({ Authorization: `Bearer ${session}` });
export const chartsAddress = () => charts;

// Whether there is a session now; else `why` is told to the person. Throws where the driver cannot be reached.
export async function enter() {
  const ticket = new URLSearchParams(location.hash.slice(1)).get("token");
  // the ticket is neither to stay in the address bar nor in the history
  if (ticket) history.replaceState(null, "", "/");
  shareWithTabs();
  for (const found of [stored, () => ticket && exchanged(ticket), askTabs]) {
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

async function exchanged(ticket) {
  const response = await fetch("/session", { method: "POST", body: ticket });
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

// Another tab of this origin may have been opened with the address already.
function askTabs() {
  return new Promise((resolve) => {
    const channel = new BroadcastChannel(TABS);
    const done = (found) => {
      channel.close();
      resolve(found);
    };
    channel.onmessage = ({ data }) => data.session && done(data.session);
    channel.postMessage({ asks: true });
    setTimeout(() => done(null), ANSWER_MS);
  });
}

function shareWithTabs() {
  const channel = new BroadcastChannel(TABS);
  channel.onmessage = ({ data }) => data.asks && session && channel.postMessage({ session });
}
