// The table of services, trouble first. It is the map in words.

import { h, say, mark, keyed, signChips, stateMark } from "./dom.js";
import { firstLine, millis, mood, rate, shapeName, share, troubleFirst } from "./format.js";

// createServices fills the table; onSelect(name) is called for the one that is chosen.
export function createServices({ onSelect }) {
  const $ = (id) => document.getElementById(id);
  const table = $("services");

  function make(s) {
    const cell = (cls) => h("td", { class: cls });
    // A body of its own for each service: a row of figures, and one for what is wrong.
    const row = h("tbody", { "data-service": s.name, "data-test": "service-row", onclick: () => onSelect(s.name) });
    row.sign = h("span", { class: "sign" });
    row.button = h("button", { type: "button", class: "name", onclick: (ev) => { ev.stopPropagation(); onSelect(s.name); } }, s.name);
    row.context = h("span", { class: "context" });
    row.why = h("span", {}); row.signs = h("ul", { class: "signs", hidden: true });
    row.whyRow = h("tr", { class: "whyrow", hidden: true }, h("td", { class: "why", colspan: 6 }, row.signs, row.why));
    row.state = cell("state"); row.rate = cell("num rate"); row.p99 = cell("num"); row.errors = cell("num errors"); row.restarts = cell("num wide");
    row.words = h("span", {});
    row.spark = spark();
    row.state.append(row.words);
    row.rateText = h("span", {});
    row.rate.append(row.spark, row.rateText);
    row.append(h("tr", {}, h("th", { scope: "row" }, h("div", { class: "who" }, row.sign, row.button, row.context)), row.state, row.rate, row.p99, row.errors, row.restarts), row.whyRow);
    return row;
  }

  function change(row, s, known) {
    const m = mood(s);
    if (row.dataset.sign !== s.state + m) {
      row.dataset.sign = s.state + m;
      row.sign.replaceChildren(stateMark(shapeName(s, m), m));
      mark(row, "data-mood", m);
      mark(row, "data-state", s.state);
    }
    const hue = known.hue.get(s.context);
    mark(row.context, "class", hue === undefined ? "context" : "context hue-" + hue);
    say(row.context, s.context || "");
    const why = s.lastError && (m === "crit" || m === "warn") ? firstLine(s.lastError, 160) : "";
    row.whyRow.hidden = !why && !s.signs?.length;
    say(row.why, why);
    signChips(row.signs, s.signs || []);
    const counted = s.state === "crashing" || s.state === "starting";
    say(row.words, s.state === "ready" || s.state === "partial" ? `${s.ready}/${s.desired} ready` : counted ? `${s.state} ${s.ready}/${s.desired}` : s.state);
    say(row.rateText, s.rate ? rate(s.rate) : "–");
    say(row.p99, s.rate ? millis(s.p99Millis) : "–");
    say(row.errors, s.rate && s.errorRate ? share(s.errorRate) : "–");
    mark(row.errors, "data-some", s.rate && s.errorRate ? "" : null);
    say(row.restarts, s.restarts ? String(s.restarts) : "–");
    drawSpark(row.spark, known.history.get(s.name) || []);
  }

  return {
    show(known) {
      const list = troubleFirst(known.status.services);
      keyed(table, list, (s) => s.name, make, (row, s) => change(row, s, known));
      $("services-empty").hidden = list.length > 0;
      const moods = list.map(mood);
      const bad = moods.filter((m) => m === "crit" || m === "warn").length;
      say($("services-note"), bad ? `${bad} of ${list.length} in trouble` : list.length ? "all well" : "");
    },
  };
}

// spark makes an empty line of the last minute; drawSpark draws values into it, its own highest at the top.
export function spark(width = 36, height = 16) {
  return h("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", width, height, "aria-hidden": "true", "data-w": width, "data-h": height }, h("path", { class: "area" }), h("path", { class: "stroke" }));
}

// most is what is drawn at the top; without it, the highest of values.
export function drawSpark(el, values, most = 0) {
  const w = Number(el.dataset.w), t = Number(el.dataset.h), n = 60;
  const top = values.length > 5 && values.some((v) => v > 0) ? most || Math.max(...values) : 0;
  mark(el, "data-flat", top > 0 ? null : "");
  if (!top) return;
  const x = (i) => ((i + n - values.length) / (n - 1) * w).toFixed(1), y = (v) => (t - 1.5 - v / top * (t - 3)).toFixed(1);
  const d = values.map((v, i) => (i ? "L" : "M") + x(i) + " " + y(v)).join("");
  mark(el.lastChild, "d", d);
  mark(el.firstChild, "d", `${d}L${w} ${t}L${x(0)} ${t}Z`);
}
