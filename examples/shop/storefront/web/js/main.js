// Finds the view for a place, and shows it.

import { h, empty, failed } from "./dom.js";
import { shelf, product } from "./shelf.js";
import { checkout } from "./checkout.js";
import { order, history as orders } from "./orders.js";
import * as cart from "./cart.js";

const main = document.querySelector("main");
const search = document.querySelector("#search");

// A view gets the match of its path, the query and a signal that ends when it is left.
// It returns what to show, at once; what takes time it fills in later.
const places = [
  [/^\/$/, shelf],
  [/^\/products\/([^/]+)$/, product],
  [/^\/checkout$/, checkout],
  [/^\/orders$/, orders],
  [/^\/orders\/([^/]+)$/, order],
];

let leave = new AbortController();

function show({ keepFocus = false } = {}) {
  leave.abort();
  leave = new AbortController();
  const url = new URL(location.href);
  const [path, view] = places.find(([p]) => p.test(url.pathname)) ?? [];
  if (document.activeElement !== search) search.value = url.pathname === "/" ? (url.searchParams.get("q") ?? "") : "";
  let shown;
  try {
    shown = view
      ? view({ params: path.exec(url.pathname).slice(1).map(decodeURIComponent), query: url.searchParams, left: leave.signal, go })
      : empty("Nothing stands here", "The page may have moved, or never was.", h("a", { class: "button", href: "/" }, "To the shop"));
  } catch (err) {
    shown = failed(err);
  }
  main.replaceChildren(shown);
  document.title = [main.querySelector("h1")?.textContent, "Peristyle"].filter(Boolean).join(" · ");
  if (!keepFocus) main.focus({ preventScroll: true });
}

// go goes to a place in the page.
export function go(href, { replace = false, keepFocus = false, keepScroll = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", href);
  if (!keepScroll) scrollTo(0, 0);
  show({ keepFocus });
}

addEventListener("popstate", () => show());

document.addEventListener("click", (e) => {
  const a = e.target.closest("a[href^='/']");
  if (!a || e.defaultPrevented || e.button !== 0 || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey || a.target) return;
  e.preventDefault();
  cart.close();
  go(a.getAttribute("href"));
});

let typing;
const find = () => {
  clearTimeout(typing);
  const query = new URLSearchParams(location.pathname === "/" ? location.search : "");
  if (search.value.trim()) query.set("q", search.value.trim());
  else query.delete("q");
  go("/" + (query.size ? "?" + query : ""), { replace: location.pathname === "/", keepFocus: true, keepScroll: location.pathname === "/" });
};
search.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(find, 220);
});
search.form.addEventListener("submit", (e) => {
  e.preventDefault();
  find();
});
document.addEventListener("keydown", (e) => {
  if (e.key === "/" && !e.target.closest("input, textarea, select, dialog")) {
    e.preventDefault();
    search.focus();
  }
});

cart.start(go);
show({ keepFocus: true });
