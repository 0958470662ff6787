// Talks to the services behind the gateway.

// A Problem is an answer that is no success, or none at all (status 0).
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || "The shop does not answer.");
    Object.assign(this, { status, code: body.code || "", fields: body.fields || [], traceId: body.traceId || "", orderId: body.orderId || "" });
  }
}

async function call(method, path, body, headers = {}) {
  let res;
  try {
    res = await fetch(path, {
      method,
      headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }), ...headers },
      body: body && JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    });
  } catch {
    throw new Problem(0, { detail: "The shop does not answer. It may be back in a moment." });
  }
  const text = await res.text();
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    if (res.ok) throw new Problem(res.status, { detail: "The shop answered what cannot be read." });
  }
  if (!res.ok) throw new Problem(res.status, { detail: res.status >= 500 ? "A part of the shop is not there at the moment." : undefined, ...answer });
  return answer;
}

const query = (o) => new URLSearchParams(Object.entries(o).filter(([, v]) => v)).toString();
const at = encodeURIComponent;

export const products = (q, category) => call("GET", "/api/catalog/products?" + query({ q, category })).then((a) => a.products);
export const product = (sku) => call("GET", "/api/catalog/products/" + at(sku));
export const categories = () => call("GET", "/api/catalog/categories").then((a) => a.categories);
// stock gives {stock: {sku: pieces}}, rates {rates: [...]}, and both {degraded: why} where the shop does without.
export const stock = (skus) => call("GET", "/bff/stock?" + query({ skus: skus.join(",") }));
export const rates = (country, grams) => call("GET", "/bff/rates?" + query({ country, grams }));
export const newCart = () => call("POST", "/api/cart");
export const getCart = (id) => call("GET", "/api/cart/" + at(id));
export const putLine = (id, sku, quantity) => call("PUT", `/api/cart/${at(id)}/lines/${at(sku)}`, { quantity });
export const placeOrder = (order, key) => call("POST", "/api/orders", order, { "Idempotency-Key": key });
export const getOrder = (id) => call("GET", "/api/orders/" + at(id));
