// The latest requests, and one of them as a waterfall.

import { call } from "./api.js";
import { h, say, mark, keyed } from "./dom.js";
import { clock, millis, plural } from "./format.js";

const listed = 40, lookEvery = 2000;

// createTraces runs list and sheet. onTrace(id) opens one, "" closes it; onSelect(name) chooses a service.
export function createTraces({ onTrace, onSelect }) {
  const $ = (id) => document.getElementById(id);
  const body = $("traces"), sheet = $("trace");
  let service = "", errors = false, asked = 0, opened = "", hueOf = () => undefined;

  function make(t) {
    const bad = t.errors > 0 || t.status >= 500;
    const row = h("tr", { "data-test": "trace-row", "data-trace": t.id, "data-bad": bad ? "" : null, onclick: () => onTrace(t.id) },
      h("td", { class: "time" }, clock(t.start)),
      h("th", { scope: "row" }, h("button", { type: "button", class: "name", onclick: (ev) => { ev.stopPropagation(); onTrace(t.id); } }, t.name)),
      h("td", { class: "num status" }, h("span", { class: statusClass(t.status) }, String(t.status || "–"))),
      h("td", { class: "num took" }, h("span", { class: "bar" }), h("span", {}, millis(t.durationMicros / 1000))),
      h("td", { class: "num hops", title: t.services?.join(" → ") }, h("span", {}, plural(t.hops, "hop")), t.errors ? h("span", { class: "errs" }, ` ${plural(t.errors, "error")}`) : null));
    row.bar = row.querySelector(".bar");
    return row;
  }

  async function look(known) {
    const now = Date.now();
    const context = new Map((known.graph?.nodes || []).map((n) => [n.name, n.context]));
    hueOf = (name) => known.hue.get(context.get(name));
    if (now - asked < lookEvery) return;
    asked = now;
    const mine = service + errors;
    const list = (await call("traces", { limit: listed, service, errors })).traces || [];
    if (mine !== service + errors) return;
    const longest = Math.max(1, ...list.map((t) => t.durationMicros));
    keyed(body, list, (t) => t.id + "/" + t.hops + "/" + t.durationMicros, make, (row, t) => row.bar.style.setProperty("--share", Math.max(0.02, t.durationMicros / longest).toFixed(3)));
    $("traces-empty").hidden = list.length > 0;
    if (!list.length && (service || errors)) say($("traces-empty"), `No request${service ? " through " + service : ""}${errors ? " with an error" : ""} lately.`);
  }

  // ---- one trace

  async function open(id) {
    if (id === opened) return;
    opened = id;
    if (!id) { if (sheet.open) sheet.close(); return; }
    sheet.replaceChildren(h("p", { class: "empty" }, "Looking for the trace …"));
    if (!sheet.open) sheet.showModal();
    try {
      const t = await call("trace", { id });
      if (opened === id) draw(t);
    } catch (err) {
      if (opened === id) sheet.replaceChildren(top("Trace " + id.slice(0, 8), ""), h("p", { class: "empty", "data-test": "trace-missing" }, [err.message, err.hint].filter(Boolean).join(". ")));
    }
  }

  function top(title, note) {
    return h("header", {}, h("h2", { id: "trace-title" }, title), h("p", { class: "fine" }, note),
      h("button", { type: "button", class: "icon close", "aria-label": "Close", autofocus: true, onclick: () => sheet.close() }, "×"));
  }

  function draw(t) {
    const spans = t.spans || [], whole = Math.max(1, t.durationMicros);
    const root = spans[0];
    const bad = spans.filter(failed).length;
    sheet.replaceChildren(
      top(root ? `${root.method} ${root.path}` : "Trace", `${clock(t.start, true)}, ${millis(whole / 1000)}, ${plural(spans.length, "hop")}${bad ? `, ${plural(bad, "error")}` : ""}`),
      h("div", { class: "scroll" },
        h("div", { class: "axis", "aria-hidden": "true" }, [0, 0.25, 0.5, 0.75, 1].map((f) => { const tick = h("span", {}, f ? millis(whole * f / 1000) : "0"); tick.style.setProperty("--at", f); return tick; })),
        h("ol", { class: "waterfall", "data-test": "waterfall" }, spans.map((s) => spanRow(s, whole))),
        t.lines?.length ? h("section", { class: "tracelines" }, h("h3", {}, "What was written meanwhile"), t.lines.map((l) => h("div", { class: "logline " + (l.level || "plain") },
          h("time", { datetime: l.at }, clock(l.at, true)), h("span", { class: hueClass("who", l.service) }, l.service), h("span", { class: "level" }, l.level || ""), h("span", { class: "text" }, l.text)))) : null,
        h("p", { class: "fine traceid-row" }, h("code", {}, t.id), " In a terminal: ", h("code", {}, "stoa trace " + t.id.slice(0, 8)))));
    sheet.querySelector(".close").focus();
  }

  function hueClass(base, name) { const hue = hueOf(name); return hue === undefined ? base : `${base} hue-${hue}`; }

  function spanRow(s, whole) {
    const more = [s.route && `route ${s.route}`, s.endpoint && `endpoint ${s.endpoint}`, s.reason && `answered by Stoa: ${s.reason}`, s.error].filter(Boolean).join(" · ");
    const row = h("li", { "data-test": "span", "data-callee": s.callee, "data-bad": failed(s) ? "" : null },
      h("div", { class: "label" }, h("span", { class: "depth" }), h("button", { type: "button", class: hueClass("name", s.callee), onclick: () => onSelect(s.callee) }, s.callee),
        h("span", { class: "what" }, `${s.method} ${s.path}`)),
      h("div", { class: "track" }, h("span", { class: hueClass("bar", s.callee) }), h("span", { class: "took" }, `${millis(s.durationMicros / 1000)}`)),
      h("div", { class: "status" }, h("span", { class: failed(s) ? "st bad" : statusClass(s.status) }, s.grpcStatus || String(s.status || "–"))),
      more ? h("div", { class: "more" }, more) : null);
    const from = Math.min(1, Math.max(0, s.offsetMicros / whole));
    row.style.setProperty("--depth", Math.min(s.depth, 12));
    row.style.setProperty("--from", from.toFixed(4));
    row.style.setProperty("--wide", Math.max(0.003, Math.min(1 - from, s.durationMicros / whole)).toFixed(4));
    mark(row, "data-late", from + s.durationMicros / whole > 0.85 ? "" : null);
    return row;
  }

  sheet.addEventListener("close", () => { if (opened) onTrace(""); });
  sheet.addEventListener("click", (ev) => { if (ev.target === sheet) sheet.close(); });
  $("traces-errors").addEventListener("change", (ev) => { errors = ev.target.checked; asked = 0; });

  return { look, open, scope(name) { service = name; asked = 0; } };
}

function failed(s) { return Boolean(s.error) || s.status >= 500 || (s.grpcStatus && s.grpcStatus !== "OK" && s.grpcStatus !== "0"); }

function statusClass(status) { return "st " + (status >= 500 ? "bad" : status >= 400 ? "poor" : "fine"); }
