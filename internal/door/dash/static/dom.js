// Making and changing elements, without markup strings: what services say is only ever text.

const svgNames = new Set(["svg", "g", "path", "rect", "circle", "ellipse", "line", "polyline", "polygon", "text", "tspan", "title", "use", "defs", "symbol"]);

// h makes an element: h("button", {class: "quiet", onclick: f, "aria-label": "…"}, "text", child, …).
// Attributes that are undefined, null or false are left out; children that are null or false too.
export function h(tag, attrs, ...children) {
  const el = svgNames.has(tag) && tag !== "title" || attrs?.svg
    ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [k, v] of Object.entries(attrs || {})) {
    if (k === "svg" || v === undefined || v === null || v === false) continue;
    if (k.startsWith("on")) el.addEventListener(k.slice(2), v);
    else el.setAttribute(k, v === true ? "" : v);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}

// say sets the text of an element, if it is another.
export function say(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

// mark sets or removes an attribute, if that changes it.
export function mark(el, name, value) {
  if (value === null || value === undefined || value === false) {
    if (el.hasAttribute(name)) el.removeAttribute(name);
  } else if (el.getAttribute(name) !== String(value)) el.setAttribute(name, value);
}

// keyed brings the children of parent in line with items: make(item) for a new key,
// change(el, item) for every one. Elements that stay are not touched, so focus and selection stay.
export function keyed(parent, items, key, make, change) {
  const old = parent.keyedChildren || new Map();
  const keys = new Set(items.map(key));
  for (const [k, el] of old) if (!keys.has(k)) el.remove();
  const now = new Map();
  let before = parent.querySelector(":scope > thead")?.nextElementSibling || parent.firstElementChild;
  if (before?.tagName === "THEAD") before = null;
  for (const item of items) {
    const k = key(item);
    if (now.has(k)) continue;
    const el = old.get(k) || make(item);
    now.set(k, el);
    if (el === before) before = before.nextElementSibling;
    else parent.insertBefore(el, before);
    change?.(el, item);
  }
  parent.keyedChildren = now;
}

// The marks of states: each has a shape of its own, so that colour is never alone.
const shapes = {
  ready: ["M6 1.4a4.6 4.6 0 1 0 0 9.2a4.6 4.6 0 0 0 0-9.2z", "fill"],
  external: ["M3 9L9 3M4.6 3H9v4.4", "line"],
  partial: ["M6 1.4a4.6 4.6 0 0 0 0 9.2zM6 1.4a4.6 4.6 0 0 1 0 9.2", "half"],
  starting: ["M6 1.6a4.4 4.4 0 1 0 4.4 4.4", "line"],
  building: ["M1.8 1.8h3.4v3.4h-3.4zM6.8 6.8h3.4v3.4h-3.4zM6.8 1.8h3.4v3.4h-3.4z", "fill"],
  crashing: ["M6 .8L11.4 10.6H.6z", "fill"],
  failed: ["M2 2l8 8M10 2l-8 8", "line"],
  down: ["M2 2l8 8M10 2l-8 8", "line"],
  stopped: ["M2 2h8v8H2z", "line"],
  failing: ["M6 .8L11.4 10.6H.6z", "line"],
};

// Those of signs (guards.js): a switch that is open, half open, a funnel, a way out, an empty
// circle crossed, a way back, a clock, a flash.
const signShapes = {
  open: ["M.8 8.2h3L8 3M8.4 8.2h2.8", "line"],
  half: ["M.8 8.2h3L8.6 6M8.4 8.2h2.8", "line"],
  shed: ["M1.2 1.6h9.6L7.2 6v4.6L4.8 9V6z", "line"],
  ejected: ["M5 1.6H1.6v8.8H5M4.6 6h6.2M8.2 3.4L10.8 6L8.2 8.6", "line"],
  budget: ["M6 1.4a4.6 4.6 0 1 0 0 9.2a4.6 4.6 0 0 0 0-9.2M2.8 9.2l6.4-6.4", "line"],
  fallback: ["M10.4 2.6H4.6a2.9 2.9 0 0 0 0 5.8h5.2M7.4 5.8L10 8.4L7.4 11", "line"],
  rated: ["M6 1.4a4.6 4.6 0 1 0 0 9.2a4.6 4.6 0 0 0 0-9.2M6 3.4V6l1.9 1.3", "line"],
  fault: ["M7.2 .6L2.4 7H5.4L4.6 11.4L9.6 4.8H6.4z", "fill"],
};

// signShape gives the path and the way of drawing for a kind of sign.
export function signShape(kind) { return signShapes[kind] || shapes.failing; }

// signMark draws the mark of a sign at 12 by 12; the word stands beside it.
export function signMark(kind) {
  const [d, how] = signShape(kind);
  return h("svg", { class: "mark " + how, viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, h("path", { d }));
}

// signChips brings the chips in parent in line with signs: the mark and what it says.
export function signChips(parent, signs, text = (x) => x.says) {
  keyed(parent, signs, (x) => x.kind, (x) => {
    const el = h("li", { class: "sign-chip", "data-kind": x.kind, "data-grave": x.grave, "data-test": "sign" }, signMark(x.kind), h("span", {}));
    return el;
  }, (el, x) => say(el.lastChild, text(x)));
  mark(parent, "hidden", signs.length ? null : "");
}

// shapeOf gives the path and the way of drawing for a state.
export function shapeOf(state) { return shapes[state] || shapes.stopped; }

// stateMark draws the mark of a state at 12 by 12.
export function stateMark(state, mood, label) {
  const [d, how] = shapeOf(state);
  return h("svg", { class: `mark ${mood} ${how}${state === "starting" ? " turning" : ""}`, viewBox: "0 0 12 12", width: 12, height: 12, role: label ? "img" : null, "aria-label": label, "aria-hidden": label ? null : "true" },
    h("path", { d }));
}
