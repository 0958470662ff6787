// The log lines of one service or of all, as they are written.
//
// The panel follows the stream while it is scrolled to its end; to scroll up, or Pause,
// holds the picture still while lines go on arriving. At most 2,000 lines are kept
// and 600 of them drawn.

import { follow, Failure } from "./api.js";
import { h, say, mark } from "./dom.js";
import { backoff, clock, plural } from "./format.js";

const kept = 2000, drawn = 600, past = 200;
const levels = { debug: "debug", info: "info", warn: "warn", error: "error" };

// createLogs runs the panel. onTrace(id) opens a trace, onScope() is called to follow all services again.
export function createLogs({ onTrace, onScope }) {
  const $ = (id) => document.getElementById(id);
  const box = $("lines"), pause = $("logs-pause"), scopeChip = $("logs-scope");
  let service = "", level = "", access = false, find = "";
  let lines = [], fresh = [], held = false, seen = false, abort = null, tries = 0, again = 0, scheduled = 0, hueOf = () => undefined;

  async function run() {
    abort?.abort();
    clearTimeout(again);
    if (!seen) return;
    const mine = abort = new AbortController();
    let first = true;
    try {
      await follow("logs", { service, follow: true, tail: past, level, access }, mine.signal, (line) => {
        if (mine.signal.aborted) return;
        if (first) { first = false; tries = 0; restart(); }
        fresh.push(line);
        if (fresh.length > kept) fresh.shift();
        schedule();
      });
    } catch (err) {
      if (!(err instanceof Failure)) throw err;
      if (err.kind === "session") return; // the page's loop says so
    }
    if (!mine.signal.aborted) again = setTimeout(run, backoff(tries++));
  }

  // restart forgets what was shown: the stream begins with the past again.
  function restart() { lines = []; fresh = []; box.replaceChildren(); empty(); }

  function schedule() { scheduled ||= requestAnimationFrame(take); }

  function take() {
    scheduled = 0;
    if (box.querySelector(".traceid:hover")) { setTimeout(schedule, 400); return; } // what is about to be clicked stays where it is
    if (held) { say(pause, `Go on (${fresh.length} new)`); return; }
    if (!fresh.length) return;
    const end = box.scrollHeight - box.scrollTop - box.clientHeight < 24;
    const batch = fresh.splice(0);
    lines = lines.concat(batch).slice(-kept);
    const fit = batch.filter(matches).slice(-drawn);
    box.append(...fit.map(row));
    while (box.childElementCount > drawn && end) box.firstElementChild.remove();
    while (box.childElementCount > kept) box.firstElementChild.remove();
    if (end) box.scrollTop = box.scrollHeight;
    empty();
  }

  function matches(l) { return !find || (l.text + " " + l.service).toLowerCase().includes(find); }

  function redraw() {
    box.replaceChildren(...lines.filter(matches).slice(-drawn).map(row));
    box.scrollTop = box.scrollHeight;
    empty();
  }

  function empty() {
    $("logs-empty").hidden = box.childElementCount > 0;
    say($("logs-empty"), lines.length && find ? `None of ${plural(lines.length, "line")} has “${find}”.` : "What services print appears here, line by line.");
  }

  function row(l) {
    const hue = hueOf(l.service);
    const extra = Object.entries(l.fields || {}).map(([k, v]) => `${k}=${typeof v === "object" ? JSON.stringify(v) : v}`).join(" ");
    const lvl = levels[l.level] || "plain";
    return h("div", { class: "logline " + lvl, "data-test": "log-line" },
      h("time", { datetime: l.at, title: l.at }, clock(l.at)),
      h("span", { class: hue === undefined ? "who" : "who hue-" + hue, title: l.instance || l.service }, l.service),
      h("span", { class: "level" }, l.level || (l.stream === "stdout" ? "" : l.stream)),
      h("span", { class: "text" }, l.text, extra ? h("span", { class: "fields" }, " " + extra) : null),
      l.traceId ? h("button", { type: "button", class: "traceid", title: "Open trace " + l.traceId, "data-test": "log-trace", onclick: () => onTrace(l.traceId) }, l.traceId.slice(0, 8)) : null);
  }

  function hold(on) {
    held = on;
    mark(pause, "aria-pressed", String(on));
    say(pause, on ? "Go on" : "Pause");
    mark(box, "data-held", on ? "" : null);
    if (!on) { take(); box.scrollTop = box.scrollHeight; }
  }

  pause.addEventListener("click", () => hold(!held));
  scopeChip.addEventListener("click", onScope);
  $("logs-level").addEventListener("change", (ev) => { level = ev.target.value; restart(); run(); });
  $("logs-access").addEventListener("change", (ev) => { access = ev.target.checked; restart(); run(); });
  $("logs-find").addEventListener("input", (ev) => { find = ev.target.value.trim().toLowerCase(); redraw(); });

  return {
    scope(name) {
      service = name;
      scopeChip.hidden = !name;
      say(scopeChip, name + " ×");
      mark(scopeChip, "aria-label", `Only ${name}; show all services`);
      restart();
      run();
    },
    hues(nodes, hue) {
      const context = new Map(nodes.map((n) => [n.name, n.context]));
      hueOf = (name) => hue.get(context.get(name));
      redraw();
    },
    // seen opens the stream, or closes it while nobody looks: a browser has six connections to a host.
    seen(on) { if (on !== seen) { seen = on; run(); } },
  };
}
