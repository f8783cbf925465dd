// The stream of changes from the driver. The browser comes back by itself after a break, and says what it had last;
// what it cannot mend (a refusal, a full house) is tried again from here. Tells how the connection is: `live`, `late`
// when nothing has come for a while, `lost`, `refused`, `ended`.

const LATE_MS = 5000; // a change comes every second
const AGAIN_MS = 5000;

export function openStream({ onWhole, onTick, onLink }) {
  let source = null;
  let last = performance.now();
  let link = "connecting";
  let ended = false;

  function tell(next) {
    if (next !== link) onLink((link = next));
  }

  function arrived(handle) {
    return (event) => {
      last = performance.now();
      const message = JSON.parse(event.data);
      handle(message);
      if (message.end) finish();
      else tell("live");
    };
  }

  function finish() {
    ended = true;
    source.close();
    tell("ended");
  }

  function open() {
    source = new EventSource("/events");
    source.addEventListener("whole", arrived(onWhole));
    source.addEventListener("tick", arrived(onTick));
    source.addEventListener("error", () => {
      if (ended) return;
      const givenUp = source.readyState === EventSource.CLOSED;
      tell(givenUp ? "refused" : "lost");
      if (givenUp) setTimeout(open, AGAIN_MS);
    });
  }

  setInterval(() => {
    if (link === "live" && performance.now() - last > LATE_MS) tell("late");
  }, 1000);
  open();
  return { age: () => (performance.now() - last) / 1000 };
}
