// The cart: the drawer, the number on the button, and the calls that keep both true.

import { h, svg, money, say, failed } from "./dom.js";
import * as api from "./api.js";
import * as store from "./store.js";

const drawer = document.querySelector(".drawer");
const open = document.querySelector("[data-test=cart-open]");
const MAX = 20; // pieces of one thing

let go = () => {};

// start wires the drawer up and shows how much is in the cart of this browser.
export function start(goTo) {
  go = goTo;
  open.addEventListener("click", () => {
    show(h("p", { class: "fine pad" }, "One moment …"));
    drawer.showModal();
    refresh();
  });
  drawer.addEventListener("click", (e) => {
    if (e.target === drawer) drawer.close(); // beside it
  });
  load().then(count, () => {}); // not worth a word before anybody asked
}

export const close = () => drawer.open && drawer.close();

// load returns this browser's cart, or null if it has none.
export async function load() {
  const id = store.cartId();
  if (!id) return null;
  try {
    return await api.getCart(id);
  } catch (err) {
    if (err.status !== 404) throw err;
    store.keepCart(""); // swept away, or the shop began anew
    return null;
  }
}

// add puts pieces of a product into the cart and makes button wait for it.
export async function add(product, pieces, button) {
  button.disabled = true;
  button.classList.add("busy");
  try {
    const cart = (await load()) ?? (await api.newCart());
    store.keepCart(cart.id);
    const has = cart.lines.find((l) => l.sku === product.sku)?.quantity ?? 0;
    count(await api.putLine(cart.id, product.sku, Math.min(MAX, has + pieces)));
    say(`${product.title} is in your cart`);
  } catch (err) {
    say(err.message);
  } finally {
    button.disabled = false;
    button.classList.remove("busy");
  }
}

// count shows how many pieces there are.
export function count(cart) {
  const n = cart?.pieces ?? 0;
  const b = open.querySelector(".count");
  b.textContent = String(n);
  b.classList.toggle("some", n > 0);
  open.setAttribute("aria-label", `Cart, ${n} ${n === 1 ? "piece" : "pieces"}`);
}

async function refresh() {
  try {
    paint(await load());
  } catch (err) {
    show(failed(err, refresh));
  }
}

function paint(cart) {
  count(cart);
  if (!cart || cart.lines.length === 0) {
    show(h("div", { class: "state", "data-test": "cart-empty" },
      svg("0 0 80 60", ["path", { d: "M18 24h44l-5 30H23zM28 24a12 12 0 0 1 24 0" }]),
      h("h3", {}, "Nothing in it yet"),
      h("p", {}, "There is no hurry."),
      h("button", { class: "button", type: "button", onclick: close }, "Look around")));
    return;
  }
  show(
    h("ul", { class: "lines" }, cart.lines.map((l) => line(cart, l))),
    h("div", { class: "sum" },
      h("p", {}, h("span", {}, "Subtotal"), h("strong", { "data-test": "cart-total" }, money(cart.total))),
      h("p", { class: "fine" }, cart.priced ? "Delivery is added at the checkout." : "Some prices are not known at the moment."),
      h("button", { class: "button strong", type: "button", "data-test": "checkout", onclick: () => (close(), go("/checkout")) }, "To the checkout")));
}

function line(cart, l) {
  const put = async (quantity, focus) => {
    drawer.setAttribute("aria-busy", "true");
    try {
      paint(await api.putLine(cart.id, l.sku, quantity));
      (drawer.querySelector(`[data-sku="${CSS.escape(l.sku)}"] [data-test=${focus}]:enabled`) ?? drawer.querySelector(".x")).focus();
    } catch (err) {
      say(err.message);
    } finally {
      drawer.removeAttribute("aria-busy");
    }
  };
  return h("li", { "data-test": "cart-line", "data-sku": l.sku },
    l.picture ? h("img", { src: l.picture, alt: "", width: "72", height: "72" }) : h("span", { class: "noimg" }),
    h("div", {},
      h("a", { href: "/products/" + l.sku }, l.title),
      h("div", { class: "stepper" },
        h("button", { type: "button", "aria-label": `One ${l.title} less`, "data-test": "less", onclick: () => put(l.quantity - 1, "less") }, "−"),
        h("output", { "aria-label": "Quantity", "data-test": "cart-quantity" }, String(l.quantity)),
        h("button", { type: "button", "aria-label": `One ${l.title} more`, "data-test": "more", disabled: l.quantity >= MAX, onclick: () => put(l.quantity + 1, "more") }, "+"))),
    h("div", { class: "end" },
      h("span", {}, cart.priced || l.total ? money(l.total) : "–"),
      h("button", { type: "button", class: "link", "aria-label": `Take ${l.title} out`, "data-test": "remove", onclick: () => put(0, "remove") }, "Remove")));
}

function show(...content) {
  drawer.replaceChildren(
    h("div", { class: "inside" },
      h("header", {}, h("h2", { id: "drawer-title" }, "Your cart"), h("button", { type: "button", class: "x", "aria-label": "Close", "data-test": "cart-close", onclick: close }, "×")),
      ...content));
}
