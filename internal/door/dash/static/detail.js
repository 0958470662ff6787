// One service in full: figures, why it is as it is, instances, who calls it and whom it calls.

import { call } from "./api.js";
import { h, say, mark, keyed, signChips, signMark, stateMark } from "./dom.js";
import { ago, clock, millis, mood, rate, shapeName, share, stateText } from "./format.js";
import { createGuards } from "./guardpane.js";
import { drawSpark, spark } from "./services.js";

const whyEvery = 5000; // milliseconds between two questions why, unless the state has changed

// createDetail fills pane. act(operation, service) restarts, stops or starts.
export function createDetail(pane, { onSelect, act, onTrace }) {
  let name = "", el = null, asked = 0, askedState = "", why = null;

  function build(service) {
    name = service;
    asked = 0; askedState = ""; why = null;
    const button = (op, text) => h("button", { type: "button", class: op === "stop" ? "quiet grave" : "quiet", "data-test": "act-" + op, onclick: () => act(op, name) }, text);
    el = {
      sign: h("span", { class: "sign" }), state: h("span", { class: "state" }), context: h("span", { class: "context" }),
      restart: button("restart", "Restart"), stop: button("stop", "Stop"), start: button("start", "Start"),
      error: h("pre", { class: "lasterror", tabindex: 0, "aria-label": "Last error", "data-test": "last-error" }),
      facts: h("dl", { class: "facts" }), spark: spark(240, 36), figures: h("div", { class: "figures" }),
      signs: h("ul", { class: "signs", hidden: true, "data-test": "signs" }), guards: createGuards(),
      why: h("ol", { class: "why", "data-test": "why" }), whySection: h("section", {}),
      instances: h("tbody"), instancesSection: h("section", {}), calls: h("tbody"), called: h("tbody"), callsSection: h("section", {}), calledSection: h("section", {}),
    };
    el.whySection.append(h("h3", {}, "Why it is so"), el.why);
    const table = (heads, body) => h("table", {}, h("thead", {}, h("tr", {}, heads.map(([t, c]) => h("th", { scope: "col", class: c }, t)))), body);
    el.instancesSection.append(h("h3", {}, "Instances"), table([["Instance"], ["State"], ["Address"], ["Up", "num"], ["Restarts", "num"]], el.instances));
    const edgeHeads = (t) => [[t], ["Rate", "num"], ["p99", "num"], ["Errors", "num"]];
    el.calledSection.append(h("h3", {}, "Called by"), table(edgeHeads("Caller"), el.called));
    el.callsSection.append(h("h3", {}, "Calls"), table(edgeHeads("Service"), el.calls));
    pane.replaceChildren(
      h("header", {}, h("button", { type: "button", class: "quiet back", "data-test": "back", onclick: () => onSelect("") }, "← All services"),
        h("div", { class: "tools" }, el.restart, el.stop, el.start)),
      h("div", { class: "scroll" },
        h("div", { class: "title" }, el.sign, h("h2", { tabindex: -1 }, service), el.context, el.state),
        el.signs, el.error, h("div", { class: "pulse" }, el.figures, el.spark), el.facts, el.guards.section, el.whySection, el.instancesSection, el.calledSection, el.callsSection));
  }

  function facts(known, s) {
    const node = known.graph?.nodes.find((n) => n.name === s.name) || {};
    const gateway = known.status.gateway;
    const links = (node.exposed || []).map((p) => gateway ? h("a", { href: gateway.replace(/\/$/, "") + p, target: "_blank", rel: "noopener" }, p) : p);
    const rows = [
      ["Address", s.address && h("code", {}, s.address)],
      ["Exposed", links.length ? links.flatMap((l, i) => i ? [", ", l] : [l]) : null],
      ["Stores", node.stores?.join(", ")],
      ["Runs", { go: "Go program", command: "program", external: "elsewhere", static: "files" }[node.form] || node.form],
      ["Restarts", s.restarts ? String(s.restarts) : null],
      ["Release", s.instances?.[0]?.release && h("code", {}, s.instances[0].release)],
    ].filter(([, v]) => v);
    const key = JSON.stringify([s.address, node, gateway, s.restarts, s.instances?.[0]?.release]);
    if (el.factsKey === key) return;
    el.factsKey = key;
    el.facts.replaceChildren(...rows.map(([k, v]) => h("div", {}, h("dt", {}, k), h("dd", {}, v))));
  }

  function edgeRows(body, known, s, from, to) {
    const live = new Map(known.edges.map((e) => [e.from + ">" + e.to, e]));
    const list = (known.graph?.edges || []).filter((e) => e[from] === s.name);
    keyed(body, list, (e) => e.from + ">" + e.to, (e) => {
      const other = e[to];
      const cell = () => h("td", { class: "num" });
      const row = h("tr", {}, h("th", { scope: "row" }, other === "gateway" ? "gateway" : h("button", { type: "button", class: "name", onclick: () => onSelect(other) }, other), e.protocol && e.protocol !== "http" ? h("span", { class: "context" }, e.protocol === "h2c" ? "gRPC" : e.protocol) : null));
      row.sign = h("span", { class: "edge-sign" });
      row.firstChild.append(row.sign);
      row.cells4 = [cell(), cell(), cell()];
      row.append(...row.cells4);
      return row;
    }, (row, e) => {
      const f = live.get(e.from + ">" + e.to);
      const on = f && f.rate > 0;
      say(row.cells4[0], on ? rate(f.rate) : "–");
      say(row.cells4[1], on ? millis(f.p99Millis) : "–");
      say(row.cells4[2], on && f.errorRate ? share(f.errorRate) : "–");
      mark(row.cells4[2], "data-some", on && f.errorRate ? "" : null);
      const first = to === "to" && known.status.services.find((x) => x.name === e.to)?.signs?.[0];
      if ((row.sign.dataset.kind || "") === (first?.kind || "")) return;
      mark(row.sign, "data-kind", first?.kind);
      mark(row.sign, "data-grave", first?.grave);
      row.sign.replaceChildren(...(first ? [signMark(first.kind), first.word] : []));
    });
    return list.length;
  }

  async function ask(s, now) {
    if (now - asked < whyEvery && askedState === s.state) return;
    asked = now; askedState = s.state;
    const service = s.name;
    try {
      const answer = await call("why", { what: "service/" + service });
      if (service === name) { why = answer; tell(); }
    } catch { /* the loop of the page reports what cannot be reached */ }
  }

  // tell shows the answer to why: what changed, newest first, each with its evidence.
  function tell() {
    const steps = [...(why?.transitions || [])].reverse().filter((t) => t.to);
    const list = steps.length ? steps : (why?.conditions || []).map((c) => ({ at: c.since, to: c }));
    el.whySection.hidden = !list.length;
    keyed(el.why, list.slice(0, 8), (t) => [t.at, t.to.type, t.to.reason].join("/"), (t) => {
      const c = t.to;
      const from = t.from && t.from.reason !== c.reason ? t.from.reason + " → " : "";
      return h("li", { "data-status": c.status },
        h("div", {}, h("time", { datetime: t.at }, clock(t.at)), " ", from ? h("span", { class: "from" }, from) : null, h("strong", {}, c.reason || c.type)),
        c.message ? h("p", {}, c.message) : null,
        c.hint ? h("p", { class: "fine" }, c.hint) : null,
        c.evidence?.length ? h("pre", { tabindex: 0, "aria-label": "Evidence" }, c.evidence.join("\n")) : null);
    });
  }

  return {
    // show brings the pane in line with service s of what is known; s is undefined when there is none of that name.
    show(known, s) {
      if (!known.selected) { name = ""; pane.replaceChildren(); return; }
      if (name !== known.selected) {
        build(known.selected);
        if (document.activeElement === document.body) pane.querySelector("h2").focus({ preventScroll: true });
      }
      if (!s) { say(el.state, "There is no service of this name."); for (const b of [el.restart, el.stop, el.start, el.whySection, el.instancesSection, el.error, el.guards.section, el.signs]) b.hidden = true; return; }
      const m = mood(s);
      mark(pane, "data-mood", m);
      if (pane.dataset.sign !== s.name + s.state + m) {
        pane.dataset.sign = s.name + s.state + m;
        el.sign.replaceChildren(stateMark(shapeName(s, m), m));
      }
      say(el.state, stateText(s));
      const hue = known.hue.get(s.context);
      mark(el.context, "class", hue === undefined ? "context" : "context hue-" + hue);
      say(el.context, s.context || "");
      const elsewhere = s.state === "external" || s.state === "down";
      el.restart.hidden = elsewhere || s.state === "stopped";
      el.stop.hidden = elsewhere || s.state === "stopped";
      el.start.hidden = s.state !== "stopped";
      el.error.hidden = !s.lastError;
      say(el.error, s.lastError || "");
      say(el.figures, s.rate ? `${rate(s.rate)}, p99 ${millis(s.p99Millis)}, ${share(s.errorRate)} errors` : "No requests at the moment.");
      drawSpark(el.spark, known.history.get(s.name) || []);
      facts(known, s);
      signChips(el.signs, s.signs || []);
      el.guards.section.hidden = false;
      el.guards.show(known, s);
      const list = s.instances || [];
      el.instancesSection.hidden = !list.length;
      keyed(el.instances, list, (i) => i.id, (i) => {
        const row = h("tr", {}, h("th", { scope: "row" }, h("code", {}, i.id)));
        row.parts = [h("td"), h("td"), h("td", { class: "num" }), h("td", { class: "num" })];
        row.append(...row.parts);
        return row;
      }, (row, i) => {
        say(row.parts[0], i.state);
        say(row.parts[1], [i.address, i.pid ? "pid " + i.pid : ""].filter(Boolean).join(", "));
        say(row.parts[2], i.started ? ago(i.started, known.now()) : "–");
        say(row.parts[3], i.restarts ? String(i.restarts) : "–");
      });
      el.calledSection.hidden = !edgeRows(el.called, known, s, "to", "from");
      el.callsSection.hidden = !edgeRows(el.calls, known, s, "from", "to");
      if (!why) el.whySection.hidden = true;
      ask(s, Date.now());
    },
  };
}
