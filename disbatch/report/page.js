// Draws the charts of a report from the JSON in the page: plotly for curves and bars, a canvas for the timeline, which
// has to stay quick with tens of thousands of tasks and without WebGL. Texts from tasks reach the page as text alone.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const counted = (n, what) => `${n} ${n === 1 ? what : `${what}s`}`;
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;"); // plotly knows some tags

  function words(seconds) {
    if (seconds < 0.9995) return `${Math.round(seconds * 1000)} ms`;
    if (seconds < 59.95) return `${seconds.toFixed(seconds < 10 ? 2 : 1)} s`;
    const whole = Math.round(seconds), two = (n) => String(n).padStart(2, "0");
    const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
    return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
  }

  // Moments that divide a time well, and how they are written.
  function timeTicks(from, to, most) {
    const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];
    const raw = (to - from) / most;
    let step = steps.find((s) => s >= raw);
    if (raw < 1) step = [1, 2, 5, 10].map((m) => m * 10 ** Math.floor(Math.log10(raw))).find((s) => s >= raw);
    if (!step) step = Math.ceil(raw / 86400) * 86400;
    const ticks = [];
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) ticks.push(t);
    return ticks;
  }

  // The same unit along the whole axis; none where there is a colon, as everywhere in the report.
  function tickWords(ticks) {
    const step = ticks.length > 1 ? ticks[1] - ticks[0] : 1, last = ticks[ticks.length - 1] || 0;
    if (step < 1) return ticks.map((t) => `${t.toFixed(Math.max(0, Math.ceil(-Math.log10(step))))} s`);
    if (last < 60) return ticks.map((t) => `${t} s`);
    const two = (n) => String(n).padStart(2, "0");
    return ticks.map((t) => {
      const hours = Math.floor(t / 3600), minutes = Math.floor(t / 60), seconds = ":" + two(Math.round(t) % 60);
      if (last < 3600) return step % 60 ? minutes + seconds : `${minutes} min`;
      return step % 3600 ? `${hours}:${two(minutes % 60)}${seconds}` : `${hours} h`;
    });
  }

  const narrow = () => document.documentElement.clientWidth < 600;
  const LEFT = 64, RIGHT = 12; // beside the two charts that share the axis of time
  const config = { displaylogo: false, responsive: true, displayModeBar: false };
  function layout(more) {
    const axis = { gridcolor: color("line"), linecolor: color("line"), zeroline: false, automargin: true };
    const { xaxis, yaxis, ...rest } = more;
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 44, r: 12, t: 8, b: 36 },
      font: { color: color("dim"), size: 12, family: getComputedStyle(document.body).fontFamily }, bargap: 0.08,
      hoverlabel: { bgcolor: color("sheet"), font: { color: color("ink") } }, legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 },
      xaxis: { ...axis, ...xaxis }, yaxis: { ...axis, rangemode: "tozero", ...yaxis }, ...rest,
    };
  }
  function draw(id, traces, more) {
    const place = document.getElementById(id);
    if (place) Plotly.react(place, traces, layout(more), config);
  }
  const timeAxis = () => {
    const ticks = timeTicks(0, data.end, narrow() ? 4 : 10);
    return { range: [0, data.end], tickvals: ticks, ticktext: tickWords(ticks) };
  };

  function curve() {
    const c = data.curve, slots = { x: [], y: [] };
    for (const [x, y] of c.slots) { slots.x.push(x); slots.y.push(y); }
    if (c.slots.length && c.runs.length === 1) { slots.x.unshift(0); slots.y.unshift(0); }
    const shapes = c.tails.filter(([a, b]) => b > a).map(([x0, x1]) => ({ type: "rect", xref: "x", yref: "paper", x0, x1, y0: 0, y1: 1, fillcolor: color("shade"), line: { width: 0 }, layer: "below" }));
    for (const [x] of c.barriers.slice(0, 200)) shapes.push({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color: color("room"), width: 1, dash: "dot" } });
    const annotations = c.barriers.length > 8 || c.runs.length > 1 || narrow() ? [] : c.barriers.map(([x, line]) => ({ x, y: 1, xref: "x", yref: "paper", yanchor: "bottom", text: `barrier, line ${line}`, showarrow: false, font: { size: 11 } }));
    c.runs.forEach(([x, path], n) => { // a short run has no room for its name
      const until = n + 1 < c.runs.length ? c.runs[n + 1][0] : data.end;
      if (c.runs.length > 1 && until - x > data.end * (narrow() ? 0.4 : 0.2)) annotations.push({ x, y: 1, xref: "x", yref: "paper", xanchor: "left", yanchor: "bottom", text: plain(path.slice(-30)), showarrow: false, font: { size: 11 } });
    });
    draw("curve", [
      { x: c.x, y: c.busy, name: "busy", mode: "lines", fill: "tozeroy", line: { color: color("ok"), width: 1.2, shape: "hvh" }, text: c.x.map(words), hovertemplate: "%{text}: %{y:.1f} busy<extra></extra>" },
      { ...slots, name: "slots", mode: "lines", line: { color: color("room"), width: 1.5, shape: "hv" }, hoverinfo: "skip" },
    ], { xaxis: timeAxis(), yaxis: { title: { text: narrow() ? "" : "slots" }, automargin: narrow() }, shapes, annotations, showlegend: false, margin: { l: narrow() ? 36 : LEFT, r: RIGHT, t: 22, b: 36 } });
  }

  function bars(id, h, names, colors, title) {
    if (!h) return;
    const marks = h.marks || [], some = (list) => (narrow() ? list.filter((_, n) => n % 2 === 0) : list);
    draw(id, h.counts.map((y, n) => ({
      type: "bar", x: h.x, y, name: names[n], width: h.width * 0.94, customdata: h.ranges, marker: { color: color(colors[n]) },
      hovertemplate: `%{customdata}: %{y}${names.length > 1 ? " " + names[n] : ""}<extra></extra>`,
    })), { barmode: "stack", xaxis: { tickvals: some(h.ticks), ticktext: some(h.words), showgrid: false, title: { text: title } }, yaxis: { title: { text: "tasks" } }, showlegend: false,
      shapes: marks.map(([x]) => ({ type: "line", xref: "x", yref: "paper", x0: x, x1: x, y0: 0, y1: 1, line: { color: color("bad"), width: 1.5, dash: "dot" } })),
      annotations: marks.map(([x, text]) => ({ x, y: 1, xref: "x", yref: "paper", xanchor: "right", yanchor: "top", text: plain(text), showarrow: false, font: { size: 11 } })) });
  }

  function nodes() {
    const n = data.nodes, few = n.name.length <= 12, place = document.getElementById("nodes");
    if (n.name.length < 2) { place.hidden = true; return; } // nothing to compare
    place.style.height = few ? `${112 + 34 * n.name.length}px` : "";
    const hover = n.name.map((name, i) => `${plain(name)}: ${n.busy[i]} % busy, ${counted(n.tasks[i], "task")} in ${counted(n.slots[i], "slot")}, ${n.failed[i]} failed, median ${n.median_words[i]}`);
    const failed = n.failed.map((f, i) => (n.tasks[i] ? (100 * f) / n.tasks[i] : 0));
    const names = n.name.map(plain);
    const common = { type: "bar", text: hover, hovertemplate: "%{text}<extra></extra>", textposition: "none", orientation: few ? "h" : "v" };
    const over = (values) => (few ? { y: names, x: values } : { x: names, y: values });
    const per = { title: { text: n.all > names.length ? `per cent; the ${names.length} least busy of ${n.all}` : "per cent" }, range: [0, 100] };
    const label = { type: "category", showgrid: false, ...(few ? { autorange: "reversed" } : { tickangle: -60 }) };
    draw("nodes", [
      { ...common, ...over(n.busy), name: "busy", marker: { color: color("ok") } },
      { ...common, ...over(failed), name: "tasks failed", marker: { color: color("bad") } },
    ], { barmode: "group", xaxis: few ? per : label, yaxis: few ? label : per, margin: { l: 44, r: 12, t: 30, b: 36 } });
  }

  const unpack = (text, Type) => new Type(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

  class Timeline {
    constructor(t) {
      this.t = t;
      this.canvas = document.getElementById("timeline");
      this.about = document.getElementById("about");
      this.from = 0;
      this.to = data.end;
      this.lanes = t.lanes.reduce((sum, [, slots]) => sum + slots, 0);
      if (t.kind === "tasks") {
        const types = { lane: Uint16Array, begin: Float32Array, length: Float32Array, task: Float64Array, line: Float64Array, code: Int32Array };
        for (const name in types) this[name] = unpack(t[name], types[name]);
        this.first = new Uint32Array(this.lanes + 1); // where each lane begins
        let at = 0;
        for (let lane = 0; lane <= this.lanes; lane++) {
          while (at < this.lane.length && this.lane[at] < lane) at++;
          this.first[lane] = at;
        }
      } else {
        this.busy = unpack(t.busy, Uint8Array);
        this.failed = unpack(t.failed, Uint8Array);
      }
      this.hint = t.kind === "tasks" ? "Point at a task to see what it is; drag over a part of the time to see more of it." : `Each row is one ${t.by}; the darker, the busier. Drag over a part of the time to see more of it.`;
      this.listen();
      this.paint();
    }

    get top() { return 2; }
    get bottom() { return this.height - 20; }
    laneY(lane) { return this.top + ((this.bottom - this.top) * lane) / this.lanes; }
    x(time) { return this.left + ((time - this.from) / (this.to - this.from)) * this.wide; }
    time(x) { return this.from + (Math.min(Math.max(x - this.left, 0), this.wide) / this.wide) * (this.to - this.from); }

    paint() {
      const ratio = window.devicePixelRatio || 1;
      this.width = this.canvas.clientWidth || 300;
      this.left = narrow() ? 0 : LEFT;
      this.wide = this.width - this.left - (narrow() ? 0 : RIGHT);
      this.height = Math.max(90, Math.min(this.lanes * 22, narrow() ? 320 : 560)) + 22;
      this.canvas.style.height = this.height + "px";
      this.canvas.width = Math.round(this.width * ratio);
      this.canvas.height = Math.round(this.height * ratio);
      const g = (this.g = this.canvas.getContext("2d"));
      g.scale(ratio, ratio);
      g.clearRect(0, 0, this.width, this.height);
      g.save();
      g.beginPath();
      g.rect(this.left, 0, this.wide, this.height);
      g.clip();
      if (this.t.kind === "tasks") this.paintTasks(g);
      else this.paintShares(g);
      g.restore();
      this.paintGrid(g);
      if (!this.about.textContent) this.about.textContent = this.hint;
    }

    paintTasks(g) {
      const ok = color("ok"), bad = color("bad"), gap = (this.bottom - this.top) / this.lanes > 4 ? 1 : 0;
      for (let lane = 0; lane < this.lanes; lane++) {
        const y = this.laneY(lane), height = this.laneY(lane + 1) - y - gap;
        let full = -1e9, red = -1e9; // pixels up to which this lane is painted already
        for (const wanted of [false, true]) { // failures last, so that they are seen among many
          g.fillStyle = wanted ? bad : ok;
          for (let i = this.first[lane]; i < this.first[lane + 1]; i++) {
            if ((this.code[i] !== 0) !== wanted) continue;
            const end = this.x(this.begin[i] + this.length[i]);
            if (end < this.left) continue;
            const begin = this.x(this.begin[i]);
            if (begin > this.left + this.wide) break;
            const done = wanted ? red : full;
            if (end - begin < 1 && end < done) continue;
            const wide = Math.max(end - begin - (end - begin > 3 ? 1 : 0), wanted ? 1.5 : 0.7);
            g.fillRect(begin, y, wide, height);
            if (wanted) red = begin + wide; else full = begin + wide;
          }
        }
      }
    }

    paintShares(g) {
      const bins = this.t.bins, cell = data.end / bins;
      for (let lane = 0; lane < this.lanes; lane++) {
        const y = this.laneY(lane), height = Math.max(this.laneY(lane + 1) - y - 0.3, 0.7);
        for (let bin = Math.max(Math.floor(this.from / cell), 0); bin < Math.min(Math.ceil(this.to / cell), bins); bin++) {
          const busy = this.busy[lane * bins + bin], failed = this.failed[lane * bins + bin];
          const x = this.x(bin * cell), wide = this.x((bin + 1) * cell) - x + 0.3;
          if (busy) { g.globalAlpha = 0.12 + (0.88 * busy) / 255; g.fillStyle = color("ok"); g.fillRect(x, y, wide, height); }
          if (failed) { g.globalAlpha = Math.min((2.5 * failed) / 255, 1); g.fillStyle = color("bad"); g.fillRect(x, y, wide, height); }
        }
      }
      g.globalAlpha = 1;
    }

    paintGrid(g) {
      g.fillStyle = color("dim");
      g.strokeStyle = color("line");
      g.font = "11px " + getComputedStyle(document.body).fontFamily;
      g.textBaseline = "bottom";
      const ticks = timeTicks(this.from, this.to, narrow() ? 4 : 10), texts = tickWords(ticks);
      for (const [number, tick] of ticks.entries()) {
        const text = texts[number], wide = g.measureText(text).width;
        g.fillText(text, Math.min(Math.max(this.x(tick) - wide / 2, 0), this.width - wide), this.height);
        g.fillRect(this.x(tick), this.bottom + 1, 1, 4);
      }
      let lane = 0, free = 0;
      g.textBaseline = "middle";
      for (const [name, slots] of this.t.lanes) {
        const y = this.laneY(lane), below = this.laneY(lane + slots), middle = (y + below) / 2;
        if (lane && this.t.lanes.length <= 60) g.fillRect(this.left, y - 0.5, this.wide, 0.7);
        if (this.left && middle - 6 >= free) {
          g.fillText(this.fitting(g, name), 0, middle);
          free = middle + 8;
        }
        lane += slots;
      }
    }

    fitting(g, name) { // the end of a name tells nodes apart
      let shown = name;
      for (let cut = 1; g.measureText(shown).width > this.left - 6 && cut < name.length; cut++) shown = "…" + name.slice(cut);
      return shown;
    }

    node(lane) {
      for (const [name, slots] of this.t.lanes) {
        if (lane < slots) return [name, lane];
        lane -= slots;
      }
      return ["", 0];
    }

    tell(x, y) {
      const lane = Math.min(Math.max(Math.floor(((y - this.top) / (this.bottom - this.top)) * this.lanes), 0), this.lanes - 1);
      const [name, slot] = this.node(lane), time = this.time(x);
      if (this.t.kind !== "tasks") {
        const bin = Math.min(Math.floor((time / data.end) * this.t.bins), this.t.bins - 1), at = lane * this.t.bins + bin;
        const failed = this.failed[at] ? `, ${Math.round(this.failed[at] / 2.55)} % with tasks that failed` : "";
        this.about.textContent = `${name}${this.t.by === "slot" ? `, slot ${slot}` : ""}, ${words(time)}: ${Math.round(this.busy[at] / 2.55)} % busy${failed}`;
        return;
      }
      const near = (3 / this.wide) * (this.to - this.from);
      let best = -1, away = near;
      for (let i = this.first[lane]; i < this.first[lane + 1] && this.begin[i] <= time + near; i++) {
        const d = Math.max(this.begin[i] - time, time - this.begin[i] - this.length[i], 0);
        if (d < away || (d === away && d === 0)) { best = i; away = d; }
      }
      const where = `${name}, slot ${slot}, ${words(time)}`;
      if (best < 0) { this.about.textContent = `${where}: empty`; return; }
      const how = this.code[best] ? `, failed with ${this.code[best]}` : "";
      const command = this.t.command ? `: ${this.t.command[best]}` : "";
      this.about.textContent = `${name}, slot ${slot}: task ${this.task[best]} (line ${this.line[best]}), from ${words(this.begin[best])}, ${words(this.length[best])}${how}${command}`;
    }

    show(from, to) {
      const least = data.end / 1e5, width = Math.min(Math.max(to - from, least), data.end);
      this.from = Math.min(Math.max(from, 0), data.end - width);
      this.to = this.from + width;
      this.paint();
    }

    zoom(how) {
      const width = this.to - this.from, middle = (this.from + this.to) / 2;
      if (how === "in") this.show(middle - width / 4, middle + width / 4);
      if (how === "out") this.show(middle - width, middle + width);
      if (how === "left") this.show(this.from - width / 2, this.to - width / 2);
      if (how === "right") this.show(this.from + width / 2, this.to + width / 2);
      if (how === "all") this.show(0, data.end);
    }

    listen() {
      let pressed = null;
      const at = (e) => { const box = this.canvas.getBoundingClientRect(); return [e.clientX - box.left, e.clientY - box.top]; };
      this.canvas.addEventListener("pointerdown", (e) => { pressed = at(e)[0]; this.tell(...at(e)); if (e.pointerType === "mouse") this.canvas.setPointerCapture(e.pointerId); });
      this.canvas.addEventListener("pointermove", (e) => {
        this.tell(...at(e));
        if (pressed === null || e.pointerType !== "mouse") return;
        this.paint();
        this.g.fillStyle = color("shade");
        this.g.fillRect(Math.min(pressed, at(e)[0]), 0, Math.abs(at(e)[0] - pressed), this.height);
      });
      this.canvas.addEventListener("pointerup", (e) => {
        const x = at(e)[0], from = pressed;
        pressed = null;
        if (from !== null && e.pointerType === "mouse" && Math.abs(x - from) > 4) this.show(this.time(Math.min(x, from)), this.time(Math.max(x, from)));
        else this.paint();
      });
      this.canvas.addEventListener("pointercancel", () => { pressed = null; this.paint(); });
      this.canvas.addEventListener("dblclick", () => this.zoom("all"));
      this.canvas.addEventListener("keydown", (e) => {
        const how = { "+": "in", "-": "out", ArrowLeft: "left", ArrowRight: "right", Escape: "all" }[e.key];
        if (how) { e.preventDefault(); this.zoom(how); }
      });
      for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => this.zoom(button.dataset.zoom));
    }
  }

  function filter() {
    const input = document.getElementById("filter");
    if (!input) return;
    const rows = [...document.querySelectorAll("#failed tbody tr")].map((row) => [row, row.textContent.toLowerCase()]);
    input.addEventListener("input", () => {
      const wanted = input.value.toLowerCase();
      for (const [row, text] of rows) row.hidden = !text.includes(wanted);
    });
  }

  function all() {
    curve();
    bars("durations", data.durations, ["went well", "failed"], ["ok", "bad"], "");
    nodes();
    if (data.usage) {
      bars("memory", data.usage.memory, ["tasks"], ["ok"], "largest process of a task");
      bars("cpu", data.usage.cpu, ["tasks"], ["ok"], "CPU time in per cent of its cores' time");
    }
  }

  filter();
  all();
  const timeline = new Timeline(data.timeline);
  let wait = 0;
  const again = () => { clearTimeout(wait); wait = setTimeout(() => { all(); timeline.paint(); }, 100); };
  window.addEventListener("resize", again);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
  document.documentElement.dataset.drawn = "yes"; // for whoever waits for the charts
})();
