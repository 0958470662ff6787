// Shipping tells what sending costs, takes parcels and follows them.
//
// It is written in Node.js with nothing but what Node.js brings, to show that a
// service of this system needs no library of the platform: a port from the
// environment, headers, a signal.
"use strict";

const http = require("node:http");
const { COUNTRIES, METHODS, rates, trackingNumber, follow } = require("./parcel.js");

const PORT = Number(process.env.PORT || 8080);
const DAY = Number(process.env.DAY_SECONDS || 86400) * 1000; // a demonstration has shorter days
const MAX_BODY = 64 * 1024;
const GRACE = 20_000;

let draining = false;

class Problem extends Error {
  constructor(status, code, detail, fields) {
    super(detail);
    this.body = { title: http.STATUS_CODES[status], status, code, detail, ...(fields && { fields }) };
  }
}

const routes = [
  ["GET", /^\/healthz$/, () => [200, { status: "alive" }]],
  ["GET", /^\/readyz$/, () => (draining ? [503, { status: "not ready", reason: "draining" }] : [200, { status: "ready" }])],
  ["GET", /^\/rates$/, getRates],
  ["POST", /^\/shipments$/, createShipment],
  ["GET", /^\/shipments\/([^/]+)$/, getShipment],
];

function getRates({ query }) {
  const country = query.get("country") || "";
  const grams = Number(query.get("grams") ?? "1000");
  invalid([
    !COUNTRIES[country] && { path: "country", want: Object.keys(COUNTRIES).join(", ") },
    !(Number.isInteger(grams) && grams >= 0 && grams <= 1_000_000) && { path: "grams", want: "0 to 1000000" },
  ]);
  return [200, { country, rates: rates(country, grams) }];
}

async function createShipment({ req, log }) {
  const { orderId, method, country, grams, handedIn } = await json(req);
  const time = Date.parse(handedIn);
  invalid([
    (typeof orderId !== "string" || orderId === "") && { path: "orderId", want: "the order that is sent" },
    !Object.hasOwn(METHODS, method) && { path: "method", want: Object.keys(METHODS).join(", ") },
    !Object.hasOwn(COUNTRIES, country) && { path: "country", want: Object.keys(COUNTRIES).join(", ") },
    !(Number.isInteger(grams) && grams > 0) && { path: "grams", want: "more than 0" },
    !(time > 0) && { path: "handedIn", want: "a date and time, RFC 3339" },
  ]);
  const number = trackingNumber({ orderId, method, country, handedIn: time });
  log("info", "parcel taken", { order: orderId, trackingNumber: number });
  return [201, follow(number, Date.now(), DAY)];
}

function getShipment({ params }) {
  const parcel = follow(params[0], Date.now(), DAY);
  if (!parcel) throw new Problem(404, "not_found", "This is no tracking number of ours.");
  return [200, parcel];
}

function invalid(found) {
  const fields = found.filter(Boolean);
  if (fields.length > 0) throw new Problem(422, "invalid", "Some fields are missing or wrong.", fields);
}

async function json(req) {
  const chunks = [];
  let size = 0;
  for await (const chunk of req) {
    if ((size += chunk.length) > MAX_BODY) throw new Problem(413, "too_large", `A body may have ${MAX_BODY} bytes.`);
    chunks.push(chunk);
  }
  try {
    const v = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    if (v !== null && typeof v === "object") return v;
  } catch {
    // told below, as for every other body that is no object
  }
  throw new Problem(400, "malformed", "The body is no JSON object.");
}

// The trace id of a W3C traceparent, empty if there is none. Shipping calls nobody, so there is nothing to pass on.
function traceOf(req) {
  const m = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(req.headers.traceparent || "");
  return m ? m[1] : "";
}

function logger(traceId) {
  return (level, msg, more = {}) =>
    console.log(JSON.stringify({ time: new Date().toISOString(), level: level.toUpperCase(), msg, ...more, ...(traceId && { traceId }) }));
}

const server = http.createServer(async (req, res) => {
  const traceId = traceOf(req);
  const log = logger(traceId);
  let status, body;
  try {
    const url = new URL(req.url, "http://shipping");
    const here = routes.filter(([, path]) => path.test(url.pathname));
    const route = here.find(([method]) => method === req.method);
    if (here.length === 0) throw new Problem(404, "not_found", "There is nothing here.");
    if (!route) throw new Problem(405, "method", `Use ${here.map(([m]) => m).join(" or ")}.`);
    const params = route[1].exec(url.pathname).slice(1).map(decodeURIComponent);
    [status, body] = await route[2]({ req, params, query: url.searchParams, log });
  } catch (err) {
    if (err instanceof URIError) err = new Problem(400, "malformed", "The path cannot be read.");
    if (!(err instanceof Problem)) {
      if (req.destroyed && !req.complete) return; // the caller left in the middle of its body
      log("error", "request failed", { path: req.url, err: String(err.stack || err) });
      err = new Problem(500, "internal", "Something broke on our side.");
    }
    body = { ...err.body, ...(traceId && { traceId }) };
    status = body.status;
  }
  res.writeHead(status, {
    "Content-Type": status >= 400 && body.code ? "application/problem+json" : "application/json",
    // What sending costs changes seldom, so the last answer may stand in for one that fails; the rest is of its moment.
    "Cache-Control": status === 200 && req.url.startsWith("/rates") ? "max-age=0" : "no-store",
  });
  res.end(JSON.stringify(body));
});

server.keepAliveTimeout = 120_000; // longer than any caller keeps a connection, so that it is the caller who closes it
server.listen(PORT, "127.0.0.1", () => logger("")("info", "serving", { addr: `127.0.0.1:${server.address().port}` }));

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.on(signal, () => {
    if (draining) return;
    draining = true;
    logger("")("info", "draining", { grace: `${GRACE / 1000}s` });
    setTimeout(() => process.exit(1), GRACE).unref();
    server.close(() => {
      logger("")("info", "stopped");
      process.exit(0);
    });
    server.closeIdleConnections();
  });
}
