// Makes elements. Text is always text: nothing here reads a string as HTML.

// h("a", {class: "quiet", href: "/"}, "Home", [more]) makes an element. A property
// that starts with "on" is a listener; false, null and undefined leave an attribute
// or a child out; true sets an attribute without a value.
export function h(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

// svg makes a drawing from [tag, attributes] pairs.
export function svg(viewBox, ...shapes) {
  const ns = "http://www.w3.org/2000/svg";
  const root = fill(document.createElementNS(ns, "svg"), { viewBox, "aria-hidden": "true" }, []);
  for (const [tag, props] of shapes) root.append(fill(document.createElementNS(ns, tag), props, []));
  return root;
}

function fill(el, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value == null) continue;
    if (name.startsWith("on")) el.addEventListener(name.slice(2), value);
    else if (name === "value") el.value = value;
    else el.setAttribute(name, value === true ? "" : value);
  }
  el.append(...children.flat(Infinity).filter((c) => c !== false && c != null));
  return el;
}

const euros = new Intl.NumberFormat("en-IE", { style: "currency", currency: "EUR" });

// money shows cents as euros.
export const money = (cents) => euros.format(cents / 100);

const moments = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", hour: "2-digit", minute: "2-digit" });

// moment shows an RFC 3339 time as a person would say it.
export const moment = (iso) => h("time", { datetime: iso }, moments.format(new Date(iso)));

let toastTimer;

// say tells something in passing, to eyes and to screen readers.
export function say(text) {
  const toast = document.querySelector(".toast");
  toast.textContent = text;
  toast.classList.add("on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toast.classList.remove("on"), 2600);
}

// empty says that there is nothing here, and what to do about it.
export const empty = (title, text, ...more) =>
  h("div", { class: "state", "data-test": "empty-state" }, column(), h("h2", {}, title), h("p", {}, text), ...more);

// failed says what went wrong, and offers to try again.
export const failed = (err, again) =>
  h("div", { class: "state", role: "alert", "data-test": "error-state" },
    column(),
    h("h2", {}, "That did not work"),
    h("p", {}, err.message),
    err.traceId && h("p", { class: "fine" }, "Trace ", h("code", {}, err.traceId)),
    again && h("button", { class: "button", type: "button", onclick: again, "data-test": "retry" }, "Try again"));

// A broken column: something is missing.
const column = () => svg("0 0 80 60",
  ["path", { d: "M14 54h52M20 50h40M26 50V30l4-3 3 4 4-5 4 4 4-3 3 3 3-4 3 4v20M33 48V36M40 48V34M47 48V37" }],
  ["path", { d: "M62 47l9-3 3 6h-11z" }]);
