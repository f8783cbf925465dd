// One connection for the stream of changes, read by hand: an EventSource can show no session, and does not notice a
// connection that hangs.

const SILENT_MS = 15000; // a change comes every few seconds; after this nothing will

// Calls `onEvent(name, number, text)` for each event. Ends with a status when the driver refuses, with null when the
// connection breaks, hangs, or is stopped by the signal.
export async function readEvents({ headers, seen, signal, onEvent, onOpen }) {
  const stop = new AbortController();
  let timer = 0;
  const renew = () => {
    clearTimeout(timer);
    timer = setTimeout(() => stop.abort(), SILENT_MS);
  };
  const stopped = () => stop.abort();
  signal.addEventListener("abort", stopped);
  renew();
  try {
    if (signal.aborted) return null;
    const known = seen === null ? {} : { "Last-Event-ID": String(seen) };
    const response = await fetch("/events", { headers: { ...headers, ...known }, signal: stop.signal, cache: "no-store" });
    if (!response.ok) return response.status;
    onOpen();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return null;
      renew();
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) take(part, onEvent);
    }
  } catch {
    return null;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", stopped);
    stop.abort();
  }
}

function take(part, onEvent) {
  const fields = new Map();
  for (const line of part.split("\n")) {
    const at = line.indexOf(": ");
    fields.set(line.slice(0, at), line.slice(at + 2));
  }
  if (fields.has("data")) onEvent(fields.get("event"), Number(fields.get("id")), fields.get("data"));
}
