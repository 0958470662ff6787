// What there is to buy: all of it, and one thing of it.

import { h, svg, money, empty, failed } from "./dom.js";
import * as api from "./api.js";
import * as cart from "./cart.js";

const FEW = 10; // pieces; below this the number is told

const UNKNOWN = "The warehouse does not answer at the moment, so we cannot say how many are left. Everything else works, and whoever orders is told.";

// shelf is the front of the shop, with what was searched for.
export function shelf({ query, left, go }) {
  const q = query.get("q") ?? "";
  const category = query.get("category") ?? "";
  const chips = h("div", { class: "chips", role: "group", "aria-label": "Category" });
  const grid = h("div", { class: "grid", "aria-busy": "true", "data-test": "product-grid" }, Array.from({ length: 8 }, ghost));
  const count = h("p", { class: "fine", role: "status", "data-test": "result-count" });
  const note = h("p", { class: "note", role: "status", hidden: true, "data-test": "degraded" });

  const chip = (id, title, n) =>
    h("button", {
      type: "button", class: "chip", "aria-pressed": String(id === category), "data-test": "category", "data-category": id || "all",
      onclick: () => {
        const next = new URLSearchParams(query);
        if (id) next.set("category", id);
        else next.delete("category");
        go("/" + (next.size ? "?" + next : ""), { keepScroll: true, keepFocus: true });
      },
    }, title, n != null && h("small", {}, String(n)));

  async function load() {
    try {
      const [all, found] = await Promise.all([api.categories(), api.products(q, category)]);
      if (left.aborted) return;
      const focused = chips.contains(document.activeElement);
      chips.replaceChildren(chip("", "Everything"), ...all.map((c) => chip(c.id, c.title, c.count)));
      if (focused) chips.querySelector("[aria-pressed=true]")?.focus();
      count.textContent = q ? `${found.length || "No"} ${found.length === 1 ? "thing" : "things"} for “${q}”` : "";
      grid.removeAttribute("aria-busy");
      if (found.length === 0) {
        grid.replaceWith(empty("Nothing like that", "Perhaps another word, or another corner of the shop.", h("a", { class: "button", href: "/" }, "Show everything")));
        return;
      }
      grid.replaceChildren(...found.map(card));
      showStock(found.map((p) => p.sku), left, note);
    } catch (err) {
      if (!left.aborted) grid.replaceWith(failed(err, () => go(location.pathname + location.search, { replace: true })));
    }
  }
  load();

  return h("div", { class: "wide" },
    q ? h("h1", { class: "unseen" }, "Search") : hero(),
    h("div", { class: "bar" }, chips, count),
    note,
    grid);
}

const hero = () =>
  h("section", { class: "hero" },
    h("div", {},
      h("h1", {}, "Things for ", h("em", {}, "quiet"), " rooms"),
      h("p", {}, "Fourteen objects, made by people who sign them. Nothing here is new for the sake of it, and nothing is meant to be replaced.")),
    svg("0 0 420 190",
      ["circle", { cx: "338", cy: "32", r: "27", class: "sun" }],
      ["path", { d: "M10 62L210 14L410 62", class: "line" }],
      ["path", { d: "M10 62H410M18 74H402M10 62V74M410 62V74M0 178H420M12 168H408", class: "line" }],
      ...[38, 100, 162, 224, 286, 348].flatMap((x) => [
        ["path", { d: `M${x - 6} 80h46M${x} 80c2 4 4 6 4 10l-3 70-5 8M${x + 34} 80c-2 4-4 6-4 10l3 70 5 8`, class: "line" }],
        ["path", { d: `M${x + 10} 92l-1 66M${x + 17} 92v66M${x + 24} 92l1 66`, class: "thin" }],
      ])));

function card(p) {
  const title = h("a", { href: "/products/" + p.sku, "data-test": "product-title" }, p.title);
  return h("article", { class: "card", "data-test": "product-card", "data-sku": p.sku },
    h("div", { class: "picture" },
      h("img", { src: p.picture, alt: "", width: "400", height: "400", loading: "lazy" }),
      h("span", { class: "badge", hidden: true, "data-test": "stock", "data-stock": p.sku })),
    h("h2", {}, title),
    h("p", { class: "blurb" }, p.blurb),
    h("p", { class: "price", "data-test": "product-price" }, money(p.price)),
    h("button", {
      type: "button", class: "add", "aria-label": `Add ${p.title} to the cart`, "data-test": "add-to-cart", "data-sku": p.sku,
      onclick: (e) => cart.add(p, 1, e.currentTarget),
    }, svg("0 0 20 20", ["path", { d: "M10 4v12M4 10h12" }])));
}

const ghost = () =>
  h("article", { class: "card ghost", "aria-hidden": "true" }, h("div", { class: "picture" }), h("p", { class: "g1" }), h("p", { class: "g2" }));

// showStock tells where little or nothing is left. The shop works without it, and says so in note.
async function showStock(skus, left, note) {
  let answer;
  try {
    answer = await api.stock(skus);
  } catch {
    answer = { stock: {}, degraded: true };
  }
  if (left.aborted) return;
  note.hidden = !answer.degraded;
  note.textContent = answer.degraded ? UNKNOWN : "";
  for (const badge of document.querySelectorAll("[data-stock]")) {
    const n = answer.stock[badge.dataset.stock];
    if (n == null) continue;
    badge.hidden = n > FEW;
    badge.textContent = n === 0 ? "Sold out" : `${n} left`;
    badge.classList.toggle("out", n === 0);
    if (n === 0) badge.closest(".card")?.querySelector(".add")?.setAttribute("disabled", "");
  }
}

// product is one thing.
export function product({ params: [sku], left, go }) {
  const page = h("div", { class: "wide" }, h("div", { class: "one", "aria-busy": "true" }, h("div", { class: "picture ghost" }), h("div", { class: "card ghost" }, h("p", { class: "g1" }), h("p", { class: "g2" }))));

  async function load() {
    let p;
    try {
      p = await api.product(sku);
    } catch (err) {
      if (left.aborted) return;
      page.replaceChildren(err.status === 404
        ? empty("We do not have that", "It may have been here once.", h("a", { class: "button", href: "/" }, "To the shop"))
        : failed(err, () => go(location.pathname, { replace: true })));
      return;
    }
    if (left.aborted) return;
    document.title = p.title + " · Peristyle";

    const amount = h("input", { id: "amount", type: "number", min: "1", max: "20", value: "1", inputmode: "numeric", "data-test": "quantity" });
    const stock = h("p", { class: "stock", role: "status", "data-test": "stock" });
    const button = h("button", { class: "button strong", type: "submit", "data-test": "add-to-cart", "data-sku": p.sku }, "Add to cart");
    page.replaceChildren(
      h("p", { class: "crumbs" }, h("a", { href: "/" }, "Shop"), " / ", h("a", { href: "/?category=" + p.category }, p.category[0].toUpperCase() + p.category.slice(1))),
      h("article", { class: "one", "data-test": "product", "data-sku": p.sku },
        h("div", { class: "picture" }, h("img", { src: p.picture, alt: `Drawing of the ${p.title.toLowerCase()}`, width: "400", height: "400" })),
        h("div", { class: "text" },
          h("h1", { "data-test": "product-title" }, p.title),
          h("p", { class: "lead" }, p.blurb),
          h("p", { class: "price", "data-test": "product-price" }, money(p.price)),
          h("p", {}, p.description),
          h("form", {
            class: "buy",
            onsubmit: (e) => {
              e.preventDefault();
              cart.add(p, amount.valueAsNumber || 1, button);
            },
          }, h("label", { for: "amount", class: "unseen" }, "Quantity"), amount, button),
          stock,
          h("dl", {}, p.details.map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value)))))));
    const answer = await api.stock([sku]).catch(() => ({ stock: {}, degraded: true }));
    if (left.aborted) return;
    const n = answer.stock[sku];
    if (answer.degraded || n == null) {
      stock.dataset.test = "degraded";
      stock.textContent = UNKNOWN;
      return;
    }
    stock.textContent = n === 0 ? "Sold out. The next delivery may bring it." : n <= FEW ? `Only ${n} left` : "In stock, leaves tomorrow";
    stock.classList.toggle("out", n === 0);
    button.disabled = n === 0;
  }
  load();
  return page;
}
