// The system map: what layout.js has placed, drawn and kept alive.
//
// Three things change at three speeds. A new graph (an apply) is laid out and drawn
// anew; what stays glides to its new place. New figures (once a second) change
// texts, widths and colours of what is drawn. The dots (dots.js) move in between.

import { h, say, mark, keyed, shapeOf, signShape } from "./dom.js";
import { layout, pointAt, GATEWAY } from "./layout.js";
import { rate, millis, share, mood, shapeName, stateText } from "./format.js";
import { dots } from "./dots.js";
import { view } from "./view.js";

// createMap draws into stage. onSelect(name) is called with a service, or "" for none.
export function createMap(stage, { onSelect }) {
  const pillars = h("g", { class: "pillars" }), regions = h("g", { class: "regions" });
  const edges = h("g", { class: "edges" }), labels = h("g", { class: "labels", "aria-hidden": "true" }), nodes = h("g", { class: "nodes" });
  const ground = h("g", {}, pillars, regions, edges), front = h("g", {}, labels, nodes);
  const svg = h("svg", { class: "plan front", role: "group", "aria-label": "Map of the services; arrow keys move between them, Enter opens one" }, front);
  const canvas = document.createElement("canvas");
  canvas.setAttribute("aria-hidden", "true");
  stage.append(h("svg", { class: "plan", "aria-hidden": "true" }, ground), canvas, svg);

  let graph = { nodes: [], edges: [] }, hue = new Map(), plan = null, selected = "", focused = GATEWAY;
  let services = new Map(), flows = new Map(), gateway = "";
  const camera = view(stage, (v) => {
    for (const g of [ground, front]) g.setAttribute("transform", `translate(${v.x} ${v.y}) scale(${v.k})`);
    flow.look(v);
  }, () => onSelect(""));
  const flow = dots(canvas, stage);

  // ---- a new graph

  function redraw() {
    const down = stage.clientWidth < 560;
    plan = layout(graph, { down });
    // Room that a small map leaves goes into its gaps.
    const k = Math.min(1.2, stage.clientWidth / plan.width);
    if (!down && plan.height * k < stage.clientHeight * 0.8) plan = layout(graph, { down, spread: Math.min(2, stage.clientHeight * 0.85 / (plan.height * k)) });
    mark(stage, "data-down", down ? "" : null);
    mark(stage, "data-dense", plan.dense ? "" : null);
    drawPillars();
    keyed(regions, plan.groups.map((g, i) => ({ ...g, key: g.name + i })), (g) => g.key, () => h("g", {}, h("rect", { rx: 14 }), h("text", {})), (el, g) => {
      mark(el, "class", "region hue-" + (hue.get(g.name) ?? 0));
      const [box, text] = el.children;
      for (const [k, v] of [["x", g.x], ["y", g.y], ["width", g.w], ["height", g.h]]) mark(box, k, v);
      mark(text, "x", g.x + 12); mark(text, "y", g.y + 17);
      say(text, g.name);
    });
    keyed(edges, plan.edges, (e) => e.key, makeEdge, (el, e) => {
      for (const p of [el.line, el.hit]) mark(p, "d", e.path);
      mark(el.head, "d", head(e.tip));
    });
    keyed(labels, plan.edges, (e) => e.key, () => h("text", {}, h("tspan", { class: "rate" }), h("tspan", { class: "time" }), h("tspan", { class: "errs" })), (el, e) => {
      el.placed = false;
      mark(el, "data-free", e.label ? "" : null);
      if (e.label) placeLabel(el, e);
    });
    keyed(nodes, [...plan.nodes.values()], (n) => n.name, makeNode, placeNode);
    camera.world(plan.width, plan.height, plan.nodes.get(GATEWAY), down);
    figures();
    choose();
  }

  function drawPillars() {
    const at = new Map();
    for (const n of plan.nodes.values()) if (n.layer > 0) at.set(n.layer, plan.down ? n.y + n.h / 2 : n.x + n.w / 2);
    keyed(pillars, [...at], ([l]) => l, () => h("line", {}), (el, [, p]) => {
      const far = 4000;
      const to = plan.down ? { x1: -far, x2: far, y1: p, y2: p } : { x1: p, x2: p, y1: -far, y2: far };
      for (const k in to) mark(el, k, to[k]);
    });
  }

  function head({ x, y, dx, dy }) {
    const p = (f, s) => `${(x - dx * f - dy * s).toFixed(1)} ${(y - dy * f + dx * s).toFixed(1)}`;
    return `M${p(-2, 0)}L${p(6, 3.6)}L${p(6, -3.6)}Z`;
  }

  function makeEdge(e) {
    const line = h("path", { class: "line" }), top = h("path", { class: "head" }), hit = h("path", { class: "hit" });
    const title = h("title", { svg: true });
    const el = h("g", { class: "edge", "data-edge": e.key }, line, top, hit, title);
    Object.assign(el, { line, head: top, hit, titleEl: title });
    return el;
  }

  function makeNode(n) {
    const gate = n.name === GATEWAY;
    const el = h("g", {
      class: gate ? "node gate" : "node", role: "button", tabindex: -1,
      "data-service": gate ? null : n.name, "data-test": gate ? "map-gateway" : "map-node",
      onclick: (ev) => { ev.stopPropagation(); gate ? onSelect("") : onSelect(n.name === selected ? "" : n.name); },
      onfocus: () => { focused = n.name; rove(); },
    });
    el.body = h(gate ? "path" : "rect", { class: "body" });
    el.mark = h("g", { class: "mark" }, h("path", {}));
    el.name = h("text", { class: "name" });
    el.ready = h("text", { class: "ready" });
    el.line = h("text", { class: "figures" });
    el.stores = h("g", { class: "stores" });
    el.signs = h("g", { class: "signs" });
    el.append(...(gate ? [el.body, el.name, el.line] : [el.body, el.mark, el.name, el.ready, el.line, el.stores, el.signs]));
    return el;
  }

  function placeNode(el, n) {
    el.style.transform = `translate(${n.x}px, ${n.y}px)`;
    if (n.name === GATEWAY) return placeGate(el, n);
    const declared = graph.nodes.find((d) => d.name === n.name) || {};
    mark(el, "data-hue", hue.get(declared.context) ?? null);
    mark(el.body, "width", n.w); mark(el.body, "height", n.h); mark(el.body, "rx", plan.dense ? 6 : 9);
    const base = plan.dense ? n.h / 2 + 4.5 : 24;
    mark(el.mark, "transform", plan.dense ? `translate(10 ${n.h / 2 - 5}) scale(.84)` : "translate(13 13.5)");
    mark(el.name, "x", plan.dense ? 26 : 32); mark(el.name, "y", base);
    mark(el.ready, "x", n.w - 12); mark(el.ready, "y", base);
    mark(el.line, "x", plan.dense ? n.w - 9 : 32); mark(el.line, "y", plan.dense ? base : 43);
    const room = Math.floor((n.w - (plan.dense ? 70 : 62)) / (plan.dense ? 6.2 : 7.2));
    say(el.name, n.name.length > room ? n.name.slice(0, room - 1) + "…" : n.name);
    keyed(el.stores, declared.stores || [], (s) => s, (s) => h("g", { class: "store" },
      h("path", { class: "can", d: "M0 3v9c0 1.7 3.1 3 7 3s7-1.3 7-3V3" }), h("ellipse", { cx: 7, cy: 3, rx: 7, ry: 2.6 }), h("title", { svg: true }, "store " + s)), () => {});
    [...el.stores.children].forEach((c, i) => mark(c, "transform", `translate(${n.w - 28 - i * 19} ${n.h - (plan.dense ? 7 : 8)}) scale(${plan.dense ? 0.8 : 1})`));
  }

  // The gateway is drawn as what a stoa is: a front with columns.
  function placeGate(el, n) {
    const { w, h: t } = n, roof = t * 0.3;
    mark(el.body, "d", `M0 ${roof}L${w / 2} 0L${w} ${roof}V${t - 4}a4 4 0 0 1-4 4H4a4 4 0 0 1-4-4Z`);
    mark(el.name, "x", w / 2); mark(el.name, "y", roof + (t - roof) / 2 - 2);
    mark(el.line, "x", w / 2); mark(el.line, "y", roof + (t - roof) / 2 + 16);
    say(el.name, "gateway");
  }

  // placeLabel puts a label on its edge. On a dense map that is done when it is first shown.
  function placeLabel(el, e) {
    if (el.placed) return;
    el.placed = true;
    const p = e.label || pointAt(e.points, e.length / 2);
    mark(el, "x", p.x); mark(el, "y", p.y);
    for (const line of el.children) mark(line, "x", p.x);
    for (const line of [el.children[1], el.children[2]]) mark(line, "dy", "1.15em");
  }

  // ---- new figures

  function figures() {
    if (!plan) return;
    for (const el of nodes.children) {
      const name = el.getAttribute("data-service");
      name ? nodeFigures(el, services.get(name), name) : gateFigures(el);
    }
    for (const el of edges.children) edgeFigures(el, flows.get(el.getAttribute("data-edge")));
    const list = [...labels.children];
    plan.edges.forEach((e, i) => labelFigures(list[i], flows.get(e.key), e));
    flow.edges(plan.edges.filter((e) => flows.get(e.key)?.rate > 0).map((e) => {
      const { rate, errorRate } = flows.get(e.key);
      return { key: e.key, points: e.points, length: e.length, rate, errorRate };
    }));
  }

  function nodeFigures(el, s, name) {
    const m = s ? mood(s) : "off";
    mark(el, "data-mood", m);
    mark(el, "data-state", s?.state || "unknown");
    const [d, how] = shapeOf(s ? shapeName(s, m) : "stopped");
    mark(el.mark, "class", `mark ${m} ${how}`);
    mark(el.mark.firstChild, "d", d);
    const ready = s && s.state !== "external" && s.state !== "down" ? `${s.ready}/${s.desired}` : "";
    const live = s && s.rate > 0 ? (plan.dense ? rate(s.rate) : `${rate(s.rate)} · ${millis(s.p99Millis)}`) : "";
    const up = s?.state === "ready" || s?.state === "external";
    const fails = up && s.rate > 0 && s.errorRate >= 0.05;
    if (plan.dense) {
      say(el.ready, "");
      say(el.line, up || m === "off" ? live : ready || s.state);
    } else {
      say(el.ready, ready);
      say(el.line, !s ? "not seen yet" : fails ? `${rate(s.rate)} · ${share(s.errorRate)} errors` : up ? live || (s.state === "external" ? "external" : "quiet") : stateText(s));
    }
    nodeSigns(el, s?.signs || []);
    const said = !s ? `${name}, not seen yet` : `${name}, ${stateText(s)}, ${s.ready} of ${s.desired} ready, ${rate(s.rate).replace("/s", " requests per second")}`;
    mark(el, "aria-label", [said, ...(s?.signs || []).map((x) => x.word)].join(", "));
  }

  // nodeSigns hangs signs on the lower edge of a node: the gravest with its word, the others as
  // shapes beside it. On a dense map all are shapes. Which is which is told by the title, the
  // node's label and the table.
  function nodeSigns(el, signs) {
    const key = signs.map((x) => x.kind + x.word).join() + plan.dense;
    if (el.signsKey !== key) {
      el.signsKey = key;
      const tall = plan.dense ? 14 : 18, pad = plan.dense ? 1 : 3;
      let x = 0;
      el.signs.replaceChildren(...signs.map((sign, i) => {
        const word = plan.dense || i > 0 ? "" : sign.word;
        const wide = tall + (word ? Math.round(word.length * 5.9) + 7 : 0);
        const [d, how] = signShape(sign.kind);
        const g = h("g", { class: "sign", "data-kind": sign.kind, "data-grave": sign.grave, "data-test": "map-sign", transform: `translate(${x} 0)` },
          h("rect", { width: wide, height: tall, rx: tall / 2 }), h("g", { class: "mark " + how, transform: `translate(${pad} ${pad})` + (plan.dense ? "" : " scale(.98)") }, h("path", { d })),
          word ? h("text", { x: 18, y: 12.7 }, word) : null, h("title", { svg: true }, sign.says));
        x += wide + 3;
        return g;
      }));
      el.signsWide = x - 3;
    }
    [...el.signs.children].forEach((g, i) => say(g.lastChild, signs[i].says));
    const n = plan.nodes.get(el.getAttribute("data-service"));
    if (n) mark(el.signs, "transform", `translate(${plan.dense ? n.w - el.signsWide - 6 : 10} ${n.h - 6})`);
  }

  function gateFigures(el) {
    let sum = 0;
    for (const f of flows.values()) if (f.from === GATEWAY) sum += f.rate;
    say(el.line, sum ? rate(sum) : "quiet");
    mark(el, "aria-label", `gateway ${gateway}, ${rate(sum).replace("/s", " requests per second")}`);
  }

  function edgeFigures(el, f) {
    const live = f && f.rate > 0;
    mark(el, "data-live", live ? "" : null);
    const width = live ? Math.min(6.5, 1.4 + 1.7 * Math.log10(1 + f.rate)) : 1.2;
    el.style.setProperty("--w", width.toFixed(2) + "px");
    el.style.setProperty("--err", live && f.errorRate ? Math.round(Math.min(1, 0.25 + Math.sqrt(f.errorRate)) * 100) + "%" : "0%");
    const [from, to] = el.getAttribute("data-edge").split(">");
    say(el.titleEl, `${from} calls ${to}` + (live ? `: ${rate(f.rate)}, p99 ${millis(f.p99Millis)}, ${share(f.errorRate)} errors` : ", not at the moment"));
  }

  function labelFigures(el, f, e) {
    const live = f && f.rate > 0;
    mark(el, "data-live", live ? "" : null);
    const bad = live && f.errorRate >= 0.05;
    mark(el, "data-bad", bad ? "" : null);
    if (!live) return;
    if (bad) placeLabel(el, e);
    say(el.children[0], rate(f.rate));
    say(el.children[1], millis(f.p99Millis));
    say(el.children[2], f.errorRate ? share(f.errorRate) : "");
  }

  // ---- selection and keys

  function choose() {
    mark(stage, "data-chosen", selected ? "" : null);
    const near = new Set([selected]);
    const touch = (key) => { const [a, b] = key.split(">"); return a === selected || b === selected; };
    for (const e of plan?.edges || []) if (touch(e.key)) { near.add(e.from); near.add(e.to); }
    for (const el of edges.children) mark(el, "data-near", selected && touch(el.getAttribute("data-edge")) ? "" : null);
    (plan?.edges || []).forEach((e, i) => {
      const near = selected && touch(e.key);
      if (near) placeLabel(labels.children[i], e);
      mark(labels.children[i], "data-near", near ? "" : null);
    });
    for (const el of nodes.children) {
      const name = el.getAttribute("data-service") || GATEWAY;
      mark(el, "data-near", selected && near.has(name) ? "" : null);
      mark(el, "aria-pressed", name === GATEWAY ? null : String(name === selected));
    }
    if (selected) focused = selected;
    rove();
  }

  function rove() {
    if (!plan?.nodes.has(focused)) focused = GATEWAY;
    for (const el of nodes.children) mark(el, "tabindex", (el.getAttribute("data-service") || GATEWAY) === focused ? 0 : -1);
  }

  svg.addEventListener("keydown", (ev) => {
    const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[ev.key];
    if (ev.key === "Enter" || ev.key === " ") { ev.preventDefault(); if (focused !== GATEWAY) onSelect(focused === selected ? "" : focused); return; }
    if (!way || !plan) return;
    ev.preventDefault();
    const from = plan.nodes.get(focused);
    const mid = (n) => [n.x + n.w / 2, n.y + n.h / 2];
    const [fx, fy] = mid(from);
    let best = null;
    for (const n of plan.nodes.values()) {
      if (n === from) continue;
      const [x, y] = mid(n);
      const along = (x - fx) * way[0] + (y - fy) * way[1], aside = Math.abs((x - fx) * way[1]) + Math.abs((y - fy) * way[0]);
      if (along < 8) continue;
      const cost = along + aside * 2;
      if (!best || cost < best.cost) best = { cost, n };
    }
    if (!best) return;
    const el = [...nodes.children].find((c) => (c.getAttribute("data-service") || GATEWAY) === best.n.name);
    el.focus({ preventScroll: true });
    camera.show(best.n);
  });

  new ResizeObserver(() => {
    if (!stage.clientWidth) return;
    const down = stage.clientWidth < 560;
    if (plan && (plan.down !== down || !plan.dense)) redraw();
    camera.resized();
    flow.resized();
  }).observe(stage);

  return {
    // graph shows another architecture: {nodes, edges} and the hue of each context.
    graph(g, contextHues) { graph = g; hue = contextHues; redraw(); },
    // live shows new figures: services and edges as the API gives them.
    live(list, edgeRates, url) {
      services = new Map(list.map((s) => [s.name, s]));
      flows = new Map(edgeRates.map((e) => [e.from + ">" + e.to, e]));
      gateway = url;
      figures();
    },
    select(name) { if (name !== selected) { selected = name; choose(); if (name && plan?.nodes.has(name)) camera.show(plan.nodes.get(name)); } },
    stale(on) { mark(stage, "data-stale", on ? "" : null); flow.pause(on); },
    camera,
  };
}
