// How numbers, times and outcomes are written.

const whole = new Intl.NumberFormat("en");
const clockTime = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export const count = (n) => whole.format(n);
/** `1 task`, `1,234 tasks`. */
export const counted = (n, what) => `${count(n)} ${n === 1 ? what : `${what}s`}`;

// 1:02:03, 2:03; below a minute in seconds
export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(seconds < 1 ? 3 : 1)} s`;
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const s = Math.round(seconds);
  const days = Math.floor(s / 86400);
  const [h, m, rest] = [Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60, s % 60];
  const two = (n) => String(n).padStart(2, "0");
  if (days) return `${days} d ${h} h`;
  return h ? `${h}:${two(m)}:${two(rest)}` : `${m}:${two(rest)}`;
}

export function rate(perSecond) {
  if (perSecond >= 100) return count(Math.round(perSecond));
  if (perSecond >= 1) return perSecond.toFixed(1);
  return perSecond > 0 ? perSecond.toPrecision(2) : "0";
}

// seconds since the epoch
export const clock = (at) => clockTime.format(new Date(at * 1000));

export function percent(part, all) {
  if (!all) return "–";
  if (part === all) return "100 %";
  // never 100 before the end
  return `${Math.min(99.9, (100 * part) / all).toFixed(1)} %`;
}

const SIGNALS = { 1: "SIGHUP", 2: "SIGINT", 3: "SIGQUIT", 4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL",
  10: "SIGUSR1", 11: "SIGSEGV", 12: "SIGUSR2", 13: "SIGPIPE", 14: "SIGALRM", 15: "SIGTERM", 24: "SIGXCPU", 25: "SIGXFSZ" };

export function outcome(code) {
  if (code === 0) return "done";
  if (code > 0) return `exit code ${code}`;
  return code === -100 ? "lost with its engine" : SIGNALS[-code] || `signal ${-code}`;
}

// C0 without tab and line feed, DEL, C1, separators, what reorders text, the byte order mark, halves of a pair alone
const HOSTILE = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]|\p{Surrogate}/gu;

// As disbatch/core/printable.py shows it, but for tab and line feed, which do no harm in an element.
export function printable(text) {
  return String(text).replace(HOSTILE, (c) => {
    const code = c.charCodeAt(0);
    if (code === 13) return "\\r";
    const isByte = code >= 0xdc80 && code <= 0xdcff;
    if (code < 0x80 || isByte) return `\\x${(code & 0xff).toString(16).padStart(2, "0")}`;
    return `\\u${code.toString(16).padStart(4, "0")}`;
  });
}
