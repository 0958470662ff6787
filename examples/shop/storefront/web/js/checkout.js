// The checkout: one form, one button, one order.

import { h, money, empty, failed } from "./dom.js";
import * as api from "./api.js";
import * as cart from "./cart.js";
import * as store from "./store.js";

const COUNTRIES = {
  GR: "Greece", AT: "Austria", FR: "France", DE: "Germany", IT: "Italy", NL: "Netherlands", ES: "Spain",
  SE: "Sweden", CH: "Switzerland", GB: "United Kingdom", US: "United States",
};

export function checkout({ left, go }) {
  const page = h("div", { class: "wide" }, h("h1", {}, "Checkout"), h("p", { class: "fine" }, "One moment …"));
  load();
  return page;

  async function load() {
    try {
      const c = await cart.load();
      if (left.aborted) return;
      if (!c || c.lines.length === 0) {
        page.replaceChildren(empty("Your cart is empty", "Choose something first.", h("a", { class: "button", href: "/" }, "To the shop")));
        return;
      }
      page.replaceChildren(h("h1", {}, "Checkout"), form(c, left, go));
    } catch (err) {
      if (!left.aborted) page.replaceChildren(failed(err, () => go("/checkout", { replace: true })));
    }
  }
}

function form(c, left, go) {
  // The key is of this attempt: whoever presses twice, or again after a silence, gets the
  // same order. A clear no ends the attempt, and so does a change of the form.
  let key = newKey();
  let delivery = 0;

  const total = h("strong", { "data-test": "checkout-total" }, money(c.total));
  const deliveryCost = h("span", { "data-test": "delivery-cost" }, "…");
  const options = h("div", { class: "options", role: "radiogroup", "aria-label": "Delivery" }, h("p", { class: "fine" }, "Asking the carrier …"));
  const error = h("div", { class: "error", role: "alert", tabindex: "-1", hidden: true, "data-test": "checkout-error" });
  const button = h("button", { class: "button strong", type: "submit", "data-test": "place-order" }, "Place the order");
  const country = h("select", { id: "country", name: "country", autocomplete: "country", "data-test": "country" },
    Object.entries(COUNTRIES).map(([id, title]) => h("option", { value: id }, title)));

  const el = h("form", { class: "checkout", novalidate: true, "data-test": "checkout-form" },
    h("div", { class: "parts" },
      error,
      part("Who are you?",
        field("name", "Name", { autocomplete: "name", path: "customer.name" }),
        field("email", "E-mail", { type: "email", autocomplete: "email", path: "customer.email" })),
      part("Where does it go?",
        field("street", "Street and number", { autocomplete: "street-address", path: "address.street" }),
        h("div", { class: "row" },
          field("postcode", "Postcode", { autocomplete: "postal-code", path: "address.postcode", short: true }),
          field("city", "City", { autocomplete: "address-level2", path: "address.city" })),
        h("p", { class: "field" }, h("label", { for: "country" }, "Country"), country)),
      part("How fast?", options),
      part("How will you pay?",
        h("p", { class: "note" }, "No money moves here. Try ",
          h("button", { type: "button", class: "link", "data-test": "use-good-card", onclick: () => card("4242 4242 4242 4242") }, "a good card"), ", ",
          h("button", { type: "button", class: "link", "data-test": "use-bad-card", onclick: () => card("4000 0000 0000 0002") }, "one the bank declines"), " or ",
          h("button", { type: "button", class: "link", onclick: () => card("4000 0000 0000 9995") }, "an empty one"), "."),
        field("number", "Card number", { autocomplete: "cc-number", inputmode: "numeric", path: "card.number" }),
        h("div", { class: "row" },
          field("expiry", "Good until", { autocomplete: "cc-exp", placeholder: "MM/YY", pattern: "[0-9]{2}/[0-9]{2}", path: "card.expiry", short: true }),
          field("cvc", "Security code", { autocomplete: "cc-csc", inputmode: "numeric", pattern: "[0-9]{3,4}", path: "card.cvc", short: true })))),
    h("aside", { class: "summary", "aria-label": "Summary" },
      h("h2", {}, "Your order"),
      h("ul", {}, c.lines.map((l) => h("li", {}, l.picture && h("img", { src: l.picture, alt: "", width: "48", height: "48" }), h("span", {}, l.title, l.quantity > 1 && h("small", {}, ` × ${l.quantity}`)), h("span", {}, money(l.total))))),
      h("p", {}, h("span", {}, "Subtotal"), h("span", {}, money(c.total))),
      h("p", {}, h("span", {}, "Delivery"), deliveryCost),
      h("p", { class: "total" }, h("span", {}, "Total"), total),
      button));

  const card = (number) => {
    for (const [name, value] of Object.entries({ number, expiry: "12/39", cvc: "123" })) {
      el.elements[name].value = value;
      el.elements[name].dispatchEvent(new Event("input", { bubbles: true }));
    }
  };

  async function askRates() {
    try {
      const { rates, degraded } = await api.rates(country.value, c.grams);
      if (left.aborted) return;
      const chosen = el.elements.delivery?.value || rates[0].id;
      options.replaceChildren(...rates.map((r) =>
        h("label", { class: "option", "data-test": "delivery-option", "data-method": r.id },
          h("input", { type: "radio", name: "delivery", value: r.id, checked: r.id === chosen, "data-amount": r.amount }),
          h("span", {}, h("b", {}, r.title), h("small", {}, r.days === 1 ? "one day" : `${r.days} days`)),
          h("span", {}, money(r.amount)))),
        degraded ? h("p", { class: "note", role: "status", "data-test": "degraded" }, degraded) : "");
      sum();
    } catch (err) {
      if (!left.aborted) options.replaceChildren(failed(err, askRates));
    }
  }

  function sum() {
    delivery = Number(el.querySelector("[name=delivery]:checked")?.dataset.amount ?? 0);
    deliveryCost.textContent = delivery ? money(delivery) : "…";
    total.textContent = money(c.total + delivery);
  }

  el.addEventListener("change", (e) => {
    if (e.target === country) askRates();
    if (e.target.name === "delivery") sum();
  });
  el.addEventListener("input", (e) => {
    key = newKey();
    if (e.target.matches?.("[aria-invalid]")) mark(e.target, "");
  });
  el.addEventListener("submit", async (e) => {
    e.preventDefault();
    error.hidden = true;
    const wrong = [...el.elements].filter((i) => i.name && i.willValidate && !i.validity.valid);
    for (const i of wrong) mark(i, i.validity.valueMissing ? "Please fill this in." : `Please write it like this: ${hint(i)}`);
    if (wrong.length > 0) {
      wrong[0].focus();
      return;
    }
    if (!el.elements.delivery?.value) {
      tell({ message: "The carrier has not answered yet. Please choose a delivery." });
      return;
    }
    const v = (name) => el.elements[name].value.trim();
    button.disabled = true;
    button.textContent = "Placing it …";
    try {
      const order = await api.placeOrder({
        items: c.lines.map((l) => ({ sku: l.sku, quantity: l.quantity })),
        customer: { name: v("name"), email: v("email") },
        address: { street: v("street"), city: v("city"), postcode: v("postcode"), country: v("country") },
        delivery: v("delivery"),
        card: { number: v("number"), expiry: v("expiry"), cvc: v("cvc") },
        cartId: c.id,
      }, key);
      store.keepOrder(order.id);
      cart.count(null);
      if (!left.aborted) go(`/orders/${order.id}?new`, { replace: true });
    } catch (err) {
      if (err.status !== 0 && err.status !== 502 && err.status !== 504) key = newKey(); // a clear no
      if (err.orderId) store.keepOrder(err.orderId); // it came to nothing, and can be looked at all the same
      if (!left.aborted) tell(err);
    } finally {
      button.disabled = false;
      button.textContent = "Place the order";
    }
  });

  function tell(err) {
    error.hidden = false;
    error.replaceChildren(
      h("strong", {}, err.code === "out_of_stock" ? "Somebody was faster" : err.status === 402 ? "The payment did not go through" : "The order was not placed"),
      h("p", {}, err.message),
      err.traceId ? h("p", { class: "fine" }, "Trace ", h("code", { "data-test": "trace-id" }, err.traceId)) : "");
    for (const f of err.fields ?? []) {
      const input = el.querySelector(`[data-path="${CSS.escape(f.path)}"]`);
      if (input) mark(input, f.want);
    }
    error.focus();
    error.scrollIntoView({ block: "center" });
  }

  askRates();
  return el;
}

const part = (title, ...content) => h("fieldset", {}, h("legend", {}, title), ...content);

function field(name, label, { path, short, ...props }) {
  return h("p", { class: short ? "field short" : "field" },
    h("label", { for: name }, label),
    h("input", { id: name, name, type: "text", required: true, maxlength: "200", "data-path": path, "data-test": name, "aria-describedby": name + "-wrong", ...props }),
    h("small", { class: "wrong", id: name + "-wrong" }));
}

function mark(input, text) {
  const wrong = document.getElementById(input.id + "-wrong");
  if (text) input.setAttribute("aria-invalid", "true");
  else input.removeAttribute("aria-invalid");
  if (wrong) wrong.textContent = text;
}

const hint = (i) => ({ email: "name@example.com", expiry: "12/39", cvc: "123" })[i.name] ?? i.placeholder;

const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
