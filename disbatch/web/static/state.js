// What is known of the run: the whole picture, kept up to date by changes. Nothing here touches the document.

const KEPT_BARS = 12000;
const TOLD_BARS = 10000; // of a run that has more, to somebody who comes
const TOLD_RUNNING = 200;
const KEPT_EXAMPLES = 10; // of one group, as the driver keeps
const KEPT_MESSAGES = 50;
const SMALL = ["counts", "contexts", "history", "nodes", "rows", "open", "barriers", "unseen", "end"]; // sent each time

export function newState() {
  return { run: null, counts: null, history: [], contexts: [], nodes: [], rows: [], open: [], barriers: [], unseen: 0, end: null,
    fields: [], engines: new Map(), bars: [], groups: new Map(), messages: [], clockOffset_s: null, endedAt: null, standsAt: null, ticks: 0, cut: false };
}

export const groupKey = (code, cause) => `${code}\u0000${cause}`;

export function takeWhole(state, message) {
  Object.assign(state, { run: message.run, fields: message.engine_fields, engines: new Map(), bars: [], groups: new Map(), messages: [],
    clockOffset_s: null });
  state.cut = message.bars.length >= TOLD_BARS;
  takeTick(state, message);
}

export function takeTick(state, message) {
  state.ticks += 1;
  for (const name of SMALL) state[name] = message[name];
  keepClock(state, message.now_s);
  for (const row of message.engines) {
    const engine = Object.fromEntries(state.fields.map((name, at) => [name, row[at]]));
    state.engines.set(engine.rank, engine);
  }
  for (const bar of message.bars) {
    bar[2] /= 1000; // start and end come in milliseconds
    bar[3] /= 1000;
    state.bars.push(bar);
  }
  if (state.bars.length > KEPT_BARS) {
    state.bars.splice(0, state.bars.length - KEPT_BARS);
    state.cut = true;
  }
  takeGroups(state, message);
  state.messages = state.messages.concat(message.messages).slice(-KEPT_MESSAGES);
}

function takeGroups(state, message) {
  for (const [code, cause, line, count, task_id] of message.groups) {
    const key = groupKey(code, cause);
    const known = state.groups.get(key);
    if (known) Object.assign(known, { count, task_id });
    else state.groups.set(key, { key, code, line, count, task_id, examples: [] });
  }
  for (const example of message.examples) {
    const group = state.groups.get(groupKey(example.code, example.cause));
    if (!group) continue; // beyond the groups that are shown
    group.examples = [example, ...group.examples.filter((e) => e.task_id !== example.task_id)].slice(0, KEPT_EXAMPLES);
  }
}

// The driver's clock against ours. A message that was long on its way shows too old a time: the newest look counts.
function keepClock(state, now_s) {
  const offset = now_s - Date.now() / 1000;
  const known = state.clockOffset_s;
  state.clockOffset_s = known === null || Math.abs(offset - known) > 5 ? offset : Math.max(known - 0.001, offset);
}

// Time stands still from this moment of our clock on, as there has been no contact since; null: it goes on.
export function stand(state, at_s) {
  state.standsAt = at_s === null ? null : at_s + (state.clockOffset_s ?? 0);
}

// The driver's time, in seconds since the epoch; it stands still once the run has ended, and while there is no contact.
export function nowAt(state) {
  return state.endedAt ?? state.standsAt ?? Date.now() / 1000 + (state.clockOffset_s ?? 0);
}

// What of the slots cannot be seen from this moment on, and would look idle: codes with what belongs to them.
export function gaps(state, from_s) {
  const found = [];
  if (state.cut && from_s < state.bars[0][3]) found.push(["bars", state.bars[0][3]]);
  if (state.counts.running > TOLD_RUNNING) found.push(["running", TOLD_RUNNING]);
  if (state.unseen) found.push(["nodes", state.nodes.length]);
  return found;
}

export function finished(s) {
  return s.done + s.failed + s.skipped;
}

// Tasks that have not started; null while the length of the list is not known.
export function waiting(s) {
  return s.total === null ? null : Math.max(0, s.total - finished(s) - s.running);
}

export function secondsLeft(s) {
  return s.total === null || s.rate <= 0 ? null : (s.total - finished(s)) / s.rate;
}

// Of the history ([seconds, ended, failed, running], counted from the start) the rates between samples.
export function series(history) {
  const [t, done, failed, running] = [[], [], [], []];
  let from = 0;
  for (let i = 0; i < history.length; i += 1) {
    // over some seconds at least: else a chart of tasks that take a second is noise
    while (from < i - 1 && history[i][0] - history[from + 1][0] >= 3) from += 1;
    const seconds = history[i][0] - history[from][0];
    const rate = (of) => (seconds > 0 ? Math.max(0, of(history[i]) - of(history[from])) / seconds : 0);
    t.push(history[i][0]);
    running.push(history[i][3]);
    done.push(rate((sample) => sample[1] - sample[2]));
    failed.push(rate((sample) => sample[2]));
  }
  return [t, done, failed, running];
}
