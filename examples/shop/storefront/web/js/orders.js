// Orders: one, from "thank you" to "delivered", and all that this browser has placed.

import { h, svg, money, moment, say, empty, failed } from "./dom.js";
import * as api from "./api.js";
import * as store from "./store.js";

const POLL = 3000; // milliseconds between two looks at an order on its way

const WORDS = {
  placed: ["Being placed", "We are asking the warehouse."],
  reserved: ["Being placed", "Your things are put aside; we are asking the bank."],
  paid: ["Paid", "Everything is packed and waits for the carrier."],
  confirmed: ["Confirmed", "It is on the carrier’s list."],
  out_of_stock: ["Sold out", "There was not enough left. Nothing was charged."],
  undoing: ["Being cancelled", "What was put aside goes back to the shelf."],
  declined: ["Declined", "The bank said no. Nothing was charged."],
  cancelled: ["Cancelled", "Someone did not answer. Nothing was charged."],
};

const JOURNEY = [["registered", "Packed"], ["collected", "Collected"], ["in_transit", "On its way"], ["out_for_delivery", "In the van"], ["delivered", "Delivered"]];

// state gives an order's state in one word: the parcel's, once there is one.
const state = (o) => (o.shipment && JOURNEY.find(([id]) => id === o.shipment.status)?.[1]) || WORDS[o.status][0];

const resting = (o) => ["out_of_stock", "declined", "cancelled"].includes(o.status) || o.shipment?.status === "delivered";

// order is one order; with ?new it says thank you.
export function order({ params: [id], query, left, go }) {
  const isNew = query.has("new");
  const page = h("div", { class: "narrow" }, h("p", { class: "fine" }, "One moment …"));
  let timer;
  let shown = "";
  left.addEventListener("abort", () => clearTimeout(timer));
  look();
  return page;

  async function look() {
    try {
      const o = await api.getOrder(id);
      if (left.aborted) return;
      const now = JSON.stringify(o);
      if (now !== shown) paint(o);
      shown = now;
      if (!resting(o)) timer = setTimeout(look, POLL);
    } catch (err) {
      if (left.aborted) return;
      if (shown) timer = setTimeout(look, POLL); // what is shown stays true enough
      else if (err.status === 404) page.replaceChildren(empty("No such order", "Orders can be seen by whoever knows their number.", h("a", { class: "button", href: "/orders" }, "Your orders")));
      else page.replaceChildren(failed(err, () => go(location.pathname + location.search, { replace: true })));
    }
  }

  function paint(o) {
    const first = o.customer.name.trim().split(/\s+/)[0];
    const title = isNew && !["out_of_stock", "undoing", "declined", "cancelled"].includes(o.status) ? `Thank you, ${first}` : "Your order";
    document.title = title + " · Peristyle";
    page.replaceChildren(
      h("article", { class: "order", "data-test": "order-confirmation" },
        h("header", {},
          h("h1", {}, title),
          h("p", { class: "lead" }, h("b", { "data-test": "order-status", "data-status": o.status }, WORDS[o.status][0]), " – ", WORDS[o.status][1])),
        journey(o),
        h("section", { class: "facts" },
          fact("Order", h("code", { "data-test": "order-id" }, o.id)),
          fact("Placed", moment(o.placedAt)),
          o.trackingNumber && fact("Parcel", h("code", { "data-test": "tracking-number" }, o.trackingNumber)),
          fact("To", `${o.customer.name}, ${o.address.street}, ${o.address.postcode} ${o.address.city}, ${o.address.country}`)),
        h("ul", { class: "items" }, o.items.map((it) =>
          h("li", { "data-test": "order-item", "data-sku": it.sku },
            h("img", { src: `/api/catalog/products/${encodeURIComponent(it.sku)}/picture.svg`, alt: "", width: "56", height: "56" }),
            h("a", { href: "/products/" + it.sku }, it.title), h("span", {}, `${it.quantity} × ${money(it.price)}`), h("span", {}, money(it.price * it.quantity))))),
        h("div", { class: "sum" },
          h("p", {}, h("span", {}, "Subtotal"), h("span", {}, money(o.subtotal))),
          h("p", {}, h("span", {}, `Delivery, ${o.delivery.method}`), h("span", {}, money(o.delivery.amount))),
          h("p", { class: "total" }, h("span", {}, "Total"), h("strong", { "data-test": "order-total" }, money(o.total)))),
        trace(o.traceId)));
  }
}

const fact = (label, value) => h("p", {}, h("span", {}, label), h("span", {}, value));

// journey draws how far the parcel is.
function journey(o) {
  if (!o.shipment) return "";
  const happened = new Map(o.shipment.events.map((e) => [e.status, e]));
  return h("ol", { class: "journey", "aria-label": "The way of the parcel", "data-test": "shipment", "data-status": o.shipment.status },
    JOURNEY.map(([id, title]) => {
      const e = happened.get(id);
      return h("li", { class: e ? "done" : "", "aria-current": id === o.shipment.status ? "step" : null, "data-test": "shipment-event", "data-status": id },
        h("b", {}, title), h("small", {}, e ? e.text : ""));
    }));
}

// trace shows the thread on which everything hangs that happened for this order.
function trace(id) {
  return h("section", { class: "trace" },
    svg("0 0 40 40", ["circle", { cx: "7", cy: "20", r: "3" }], ["circle", { cx: "22", cy: "9", r: "3" }], ["circle", { cx: "22", cy: "31", r: "3" }], ["circle", { cx: "35", cy: "9", r: "3" }],
      ["path", { d: "M10 19C15 17 16 10 19 9M10 21C15 23 16 30 19 31M25 9H32" }]),
    h("div", {},
      h("h2", {}, "One order, one trace"),
      h("p", { class: "fine" }, "Everything that the services did for it hangs on this thread. To pull it:"),
      h("p", {}, h("code", { class: "big" }, "stoa trace ", h("b", { "data-test": "trace-id" }, id)),
        h("button", { type: "button", class: "link", onclick: () => navigator.clipboard.writeText("stoa trace " + id).then(() => say("Copied"), () => say("The browser does not allow it")) }, "Copy"))));
}

// history lists the orders of this browser.
export function history({ left, go }) {
  const page = h("div", { class: "narrow" }, h("h1", {}, "Your orders"));
  const ids = store.orderIds();
  if (ids.length === 0) {
    page.append(empty("No orders yet", "What you order in this browser is kept here.", h("a", { class: "button", href: "/" }, "To the shop")));
    return page;
  }
  const list = h("ul", { class: "history", "aria-busy": "true", "data-test": "order-history" }, ids.map(() => h("li", { class: "ghost" }, h("p", { class: "g1" }))));
  page.append(list);
  Promise.allSettled(ids.map(api.getOrder)).then((found) => {
    if (left.aborted) return;
    list.removeAttribute("aria-busy");
    if (found.every((f) => f.status === "rejected" && f.reason.status !== 404)) {
      list.replaceWith(failed(found[0].reason, () => go("/orders", { replace: true })));
      return;
    }
    const rows = found.filter((f) => f.status === "fulfilled").map((f) => row(f.value));
    if (rows.length > 0) list.replaceChildren(...rows);
    else list.replaceWith(empty("These orders are gone", "The shop has begun anew since.", h("a", { class: "button", href: "/" }, "To the shop")));
  });
  return page;
}

const row = (o) =>
  h("li", { "data-test": "order-row", "data-order": o.id },
    h("a", { href: "/orders/" + o.id },
      h("span", { class: "pics" }, o.items.slice(0, 3).map((it) => h("img", { src: `/api/catalog/products/${encodeURIComponent(it.sku)}/picture.svg`, alt: "", width: "48", height: "48" }))),
      h("span", {}, h("b", {}, o.items.map((it) => it.title).join(", ")), h("small", {}, moment(o.placedAt))),
      h("span", { class: "tag", "data-status": o.status }, state(o)),
      h("span", {}, money(o.total))));
