// The dashboard's first page: what it knows, when it asks, and what is selected.
//
// One loop asks for status, traffic and traces once a second while the page is seen, and
// for the map when the revision has changed. When Stoa does not answer, what is shown
// stays, marked as old, and the loop tries again after 1, 2, 4 ... 15 seconds.
// Everything selected is in the address, so that a link shows the same to somebody else.

import { call, change, login, Failure } from "./api.js";
import { h, say, mark, keyed, stateMark } from "./dom.js";
import { ago, backoff, entry, hues, millis, plural, rate, readHash, share, verdict, writeHash } from "./format.js";
import { sample, signs, stories } from "./guards.js";
import { createMap } from "./map.js";
import { createServices } from "./services.js";
import { createDetail } from "./detail.js";
import { createLogs } from "./logs.js";
import { createTraces } from "./traces.js";
import { theme } from "./theme.js";

const $ = (id) => document.getElementById(id);
const every = 1000; // milliseconds between two looks

// Everything the page knows. Views get it as it is and keep nothing of it.
const known = {
  status: null, graph: null, edges: [], stories: new Map(), history: new Map(), samples: new Map(), hue: new Map(),
  now: () => Date.now(), selected: "", trace: "",
};

const map = createMap($("stage"), { onSelect: select });
const services = createServices({ onSelect: select });
const detail = createDetail($("detail-pane"), { onSelect: select, act, onTrace: openTrace });
const logs = createLogs({ onTrace: openTrace, onScope: () => select("") });
const traces = createTraces({ onTrace: openTrace, onSelect: (name) => { openTrace(""); select(name); } });

// ---- what is selected

function select(service) { if (service) onlyMap(false); go({ service, trace: known.trace }); }
function openTrace(trace) { go({ service: known.selected, trace }); }

function go(to) {
  const hash = writeHash(to);
  if (hash !== location.hash) history.pushState(null, "", hash || location.pathname + location.search);
  follow();
}

// follow brings the page in line with the address.
function follow() {
  const { service, trace } = readHash(location.hash);
  const other = service !== known.selected;
  known.selected = service;
  known.trace = trace;
  map.select(service);
  if (other) { logs.scope(service); traces.scope(service); }
  traces.open(trace);
  show();
}

addEventListener("popstate", follow);
addEventListener("hashchange", () => (readHash(location.hash).login ? open() : follow()));
addEventListener("keydown", (ev) => {
  if (ev.key === "Escape" && known.selected && !document.querySelector("dialog[open]")) select("");
  if (ev.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(document.activeElement?.tagName) && !ev.ctrlKey && !ev.metaKey) { ev.preventDefault(); $("logs-find").focus(); }
});

// ---- showing

function show() {
  const { status } = known;
  const picked = known.selected && status?.services.find((s) => s.name === known.selected);
  $("detail-pane").hidden = !known.selected;
  $("services-pane").hidden = Boolean(known.selected);
  mark(document.body, "data-selected", known.selected ? "" : null);
  if (!status) return;
  header(status);
  services.show(known);
  detail.show(known, picked);
  map.live(status.services, known.edges, status.gateway || "");
}

function header(status) {
  const v = verdict(status.services);
  document.title = `${v.mood === "ok" ? "" : "● "}${status.system}: ${v.text}`;
  say($("system"), status.system);
  say($("mode"), status.mode);
  say($("revision"), "revision " + status.revision);
  const now = v.mood + v.text;
  if ($("verdict").dataset.now !== now) {
    $("verdict").dataset.now = now;
    mark($("verdict"), "data-mood", v.mood);
    const shape = { ok: "ready", crit: "crashing", warn: "failing", busy: "starting", off: "stopped" }[v.mood];
    $("verdict-mark").replaceChildren(stateMark(shape, v.mood));
    say($("verdict-text"), v.text);
  }
  const e = entry(known.edges);
  const flow = e.rate ? `${rate(e.rate).replace("/s", "")} requests a second come in, p99 ${millis(e.p99Millis)}, ${e.errorRate ? share(e.errorRate) + " errors" : "no errors"}.` : "No requests at the moment.";
  say($("verdict-detail"), [v.detail, status.services.length ? flow : ""].filter(Boolean).join(" "));
  const link = $("gateway");
  link.hidden = !status.gateway;
  if (status.gateway && link.href !== new URL(status.gateway).href) {
    link.href = status.gateway;
    link.replaceChildren(h("span", { class: "fine" }, "Gateway"), h("span", {}, status.gateway.replace(/^https?:\/\//, "") + " ↗"));
  }
  const open = status.unprotected || [];
  $("unprotected").hidden = !open.length;
  say($("unprotected-count"), `What this mode does not protect (${open.length})`);
  keyed($("unprotected-list"), open, (t) => t, (t) => h("li", {}, t));
  say($("seen"), status.gateway ? `${plural(status.services.length, "service")}, ${plural(known.graph?.edges.length || 0, "declared call")}` : "");
}

// remember keeps the last minute: of rates, and of what guards did.
function remember(status) {
  const keep = (past, name, value) => past.set(name, [...(past.get(name) || []), value].slice(-60));
  for (const s of status.services) {
    keep(known.history, s.name, s.rate);
    keep(known.samples, s.name, sample(known.stories.get(s.name), s));
  }
  for (const past of [known.history, known.samples]) {
    for (const name of past.keys()) if (!status.services.some((s) => s.name === name)) past.delete(name);
  }
}

// onlyMap gives the map the whole page, or takes it back.
function onlyMap(on) {
  mark($("main"), "data-only", on ? "map" : null);
  mark($("only-map"), "aria-pressed", String(on));
  say($("only-map"), on ? "Shrink" : "Expand");
}

// ---- asking

let failures = 0, lastGood = 0, timer = 0, asking = false, shownRevision = null, retryAt = 0;

async function look() {
  clearTimeout(timer);
  if (asking || document.hidden || document.body.dataset.phase === "closed") return;
  asking = true;
  try {
    const [status, top] = await Promise.all([call("status"), call("top", { all: true })]);
    status.services ||= [];
    const told = status.services.some((s) => s.faults?.length) ? await call("faults") : null;
    if (status.revision !== shownRevision || !known.graph) {
      const graph = await call("map");
      known.graph = { ...graph, nodes: graph.nodes || [], edges: graph.edges || [] };
      known.hue = hues(known.graph.nodes.map((n) => n.context));
      shownRevision = status.revision;
      mark($("main"), "data-many", known.graph.nodes.length > 24 ? "" : null);
      map.graph(known.graph, known.hue);
      logs.hues(known.graph.nodes, known.hue);
      say($("map-note"), known.hue.size ? `${plural(known.graph.nodes.length, "service")} in ${plural(known.hue.size, "context")}` : "");
    }
    known.status = status;
    known.edges = top.edges || [];
    known.stories = stories(top.guards, told?.faults, known.edges);
    for (const s of status.services) s.signs = signs(known.stories.get(s.name), known.now());
    remember(status);
    await traces.look(known);
    good();
  } catch (err) {
    if (!(err instanceof Failure)) throw err;
    bad(err);
  } finally {
    asking = false;
    if (document.body.dataset.phase !== "closed") timer = setTimeout(look, failures ? Math.max(0, retryAt - Date.now()) : every);
  }
}

function good() {
  failures = 0;
  lastGood = Date.now();
  mark(document.body, "data-phase", "open");
  mark(document.body, "data-stale", null);
  $("banner").hidden = true;
  map.stale(false);
  show();
}

function bad(err) {
  if (err.kind === "session") { closed(""); return; }
  retryAt = Date.now() + backoff(failures++);
  map.stale(true);
  mark(document.body, "data-stale", "");
  say($("banner-text"), staleText(err));
  $("banner").hidden = false;
}

let lastError = null;
function staleText(err) {
  if (err) lastError = err;
  const what = lastError.kind === "unreachable" ? "Stoa does not answer." : `Stoa answered with an error: ${lastError.message}.`;
  const age = lastGood ? ` What you see is ${ago(new Date(lastGood).toISOString(), Date.now()).replace("now", "a moment")} old.` : "";
  const wait = Math.ceil((retryAt - Date.now()) / 1000);
  return what + age + (wait > 0 ? ` Trying again in ${wait} s.` : " Trying again.");
}
setInterval(() => { if (!$("banner").hidden && !document.hidden) say($("banner-text"), staleText()); }, 1000);

$("banner-try").addEventListener("click", () => { retryAt = 0; look(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) look(); logs.seen(!document.hidden); });

// ---- doing

async function act(name, service) {
  if (name === "stop" && !await sure(service)) return;
  toast(`${{ restart: "Restarting", stop: "Stopping", start: "Starting" }[name]} ${service} …`);
  try {
    const done = await change(name, { service });
    toast(done?.message || `${service}: ${name} was asked for`);
  } catch (err) {
    if (err.kind === "session") closed("");
    else toast([err.message, err.hint].filter(Boolean).join(". "), true);
  }
  look();
}

// sure asks before a service is stopped.
function sure(service) {
  const callers = (known.graph?.edges || []).filter((e) => e.to === service).map((e) => e.from);
  const box = $("confirm");
  return new Promise((resolve) => {
    box.replaceChildren(h("form", { method: "dialog" },
      h("h2", { id: "confirm-title" }, `Stop ${service}?`),
      h("p", {}, callers.length ? `It stays stopped until it is started again. ${callers.join(", ")} will get errors from it.` : "It stays stopped until it is started again."),
      h("div", { class: "buttons" }, h("button", { value: "keep", class: "quiet", autofocus: true }, "Keep it running"), h("button", { value: "stop", class: "grave", "data-test": "confirm-stop" }, "Stop it"))));
    box.returnValue = "";
    box.addEventListener("close", () => resolve(box.returnValue === "stop"), { once: true });
    box.showModal();
  });
}

let toastTimer = 0;
function toast(text, grave) {
  const el = $("toast");
  say(el, text);
  mark(el, "data-grave", grave ? "" : null);
  el.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { el.hidden = true; }, grave ? 12_000 : 5000);
}

// ---- opening

function closed(why) {
  clearTimeout(timer);
  mark(document.body, "data-phase", "closed");
  document.title = "Stoa: a fresh link is needed";
  $("closed").hidden = false;
  say($("closed-why"), why);
  logs.seen(false);
}

async function open() {
  const { login: token, ...rest } = readHash(location.hash);
  if (token) {
    history.replaceState(null, "", location.pathname + location.search + writeHash(rest));
    try {
      await login(token);
    } catch (err) {
      if (err.kind !== "unreachable") { closed(err.kind === "session" || err.kind === "denied" ? "That link was used already, or is too old." : err.message); return; }
    }
    $("closed").hidden = true;
    mark(document.body, "data-phase", "opening");
  }
  follow();
  await look();
  if (document.body.dataset.phase !== "closed") logs.seen(!document.hidden);
}

theme($("theme"));
$("zoom-in").addEventListener("click", () => map.camera.zoom(1.25));
$("zoom-out").addEventListener("click", () => map.camera.zoom(0.8));
$("zoom-fit").addEventListener("click", () => map.camera.fit());
$("only-map").addEventListener("click", () => onlyMap(!$("main").dataset.only));
open();
