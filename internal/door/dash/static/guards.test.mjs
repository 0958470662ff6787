import test from "node:test";
import assert from "node:assert/strict";
import * as g from "./guards.js";
import { mood, troubleFirst, verdict } from "./format.js";

const now = Date.parse("2026-01-02T12:00:00Z");
const open = {
  name: "inventory/grpc", service: "inventory", breaker: "open", since: "2026-01-02T11:59:26Z", before: { requests: 214, failed: 124 }, inFlight: 3, limit: 20, budget: 0.4,
  done: [{ what: "refused", why: "breaker", rate: 12, total: 340 }, { what: "refused", why: "shed", rate: 2, total: 9 }],
  shed: [{ priority: "critical", why: "breaker", rate: 12, total: 340 }, { priority: "low", why: "limit", rate: 0.5, total: 4 }, { priority: "low", why: "shed", rate: 1.5, total: 5 }],
};
const calls = { name: "inventory", service: "inventory", done: [{ what: "fallback", why: "cached", rate: 4, total: 80 }, { what: "fallback", why: "none", rate: 1, total: 3 }, { what: "not-retried", why: "budget", rate: 0, total: 7 }] };
const rated = { name: "gateway storefront /bff", service: "storefront", done: [{ what: "refused", rate: 1.5, total: 30 }] };
const fault = { name: "inventory-1", service: "inventory", does: "all calls to inventory wait 2s, until 12:04:10", until: "2026-01-02T12:04:10Z", by: "ada (cli)" };
const edges = [{ from: "storefront", to: "inventory", rate: 10 }, { from: "orders", to: "inventory", rate: 6 }, { from: "gateway", to: "storefront", rate: 5 }];

test("what is about one service comes together, whatever its upstreams are called", () => {
  const all = g.stories([open, calls, rated, { name: "lost x", done: [] }], [fault], edges);
  assert.deepEqual([...all.keys()], ["inventory", "storefront"]);
  const s = all.get("inventory");
  assert.equal(s.requests, 16);
  assert.equal(s.breakers[0].name, "inventory/grpc");
  assert.deepEqual(g.standIn(s), { rate: 4, total: 80, kinds: ["cached"] });
  assert.deepEqual(g.spared(s), { rate: 2, total: 9 });
  assert.deepEqual(s.shed.map((x) => [x.priority, x.rate, x.total]), [["low", 2, 9]]);
  assert.deepEqual(g.done(s, "refused"), { rate: 14, total: 349 });
});

test("signs are words, the gravest first, and none at rest", () => {
  const all = g.stories([open, calls, rated], [fault], edges);
  const list = g.signs(all.get("inventory"), now);
  assert.deepEqual(list.map((x) => [x.kind, x.grave, x.word]), [["open", "crit", "breaker open"], ["shed", "warn", "shedding"], ["fallback", "warn", "fallback"], ["fault", "note", "fault injected"]]);
  assert.deepEqual(list.map((x) => x.says), ["breaker open for 34 s: calls are refused", "sheds 2/s of 16/s", "cached fallback answers 25 % of its calls", "a fault is injected, until it ends in 4 min 10 s"]);
  assert.deepEqual(g.signs(all.get("storefront"), now).map((x) => [x.kind, x.says]), [["rated", "1.5/s more than its rate allows"]]);
  assert.deepEqual(g.signs(undefined, now), []);
  const calm = g.stories([{ name: "cart", service: "cart", limit: 20, budget: 1, done: [{ what: "retried", rate: 0, total: 4 }, { what: "fallback", why: "cached", rate: 0, total: 4 }] }], [], []);
  assert.deepEqual(g.signs(calm.get("cart"), now), []);
});

test("the breaker tells since when, and what the window told", () => {
  const clock = (at) => at.slice(11, 19);
  const s = g.stories([open], [], []).get("inventory");
  assert.deepEqual(g.breakerText(s, { rate: 0 }, clock, now), ["open since 11:59:26, 34 s", "In the 10 s before it opened 58 % of 214 calls failed, as callers saw it. Refuses 12/s; 340 refused in all."]);
  const hasty = g.stories([{ name: "stock", service: "stock", hasty: [{ timeout: "1s", breaker: "half-open" }, { timeout: "2s", breaker: "open", since: "2026-01-02T11:59:26Z" }] }], [], []).get("stock");
  assert.deepEqual(g.breakerText(hasty, { rate: 0 }, clock, now), ["open since 11:59:26, 34 s", "It is that of callers who wait 2s at most; others are let through."]);
  assert.deepEqual(g.signs(hasty, now).map((x) => [x.kind, x.says, x.makes]), [["open", "breaker open for 34 s: calls that wait 2s at most are refused", "is too slow for callers who wait 2s: their breaker is open"]]);
  assert.deepEqual(g.breakerText(undefined, { rate: 0 }, clock, now), ["closed", "No call in the last 10 s."]);
  assert.deepEqual(g.breakerText(undefined, { rate: 21, errorRate: 0.03 }, clock, now), ["closed", "In the last 10 s 3 % of 21/s failed."]);
});

test("places and times are told with units", () => {
  assert.equal(g.placesText({ limit: 8, inFlight: 8, waiting: 3, overload: 0.77 }), "8 of 8 places in use, 3 wait, overload 77 %");
  assert.equal(g.placesText({}), "0 in flight, no limit");
  for (const [at, want] of [["12:00:38", "38 s"], ["12:04:10", "4 min 10 s"], ["12:05:00", "5 min"], ["14:05:01", "2 h 5 min"], ["11:00:00", "0 s"]]) assert.equal(g.until(`2026-01-02T${at}Z`, now), want);
});

test("what guards say makes the mood and the sentence", () => {
  const s = (name, signs, more = {}) => ({ name, state: "ready", ready: 1, desired: 1, rate: 2, errorRate: 0, signs, ...more });
  const story = g.stories([open], [fault], edges).get("inventory");
  const ill = s("inventory", g.signs(story, now));
  const odd = s("shipping", [{ kind: "fault", grave: "note", word: "fault injected" }]);
  assert.deepEqual([ill, odd].map(mood), ["crit", "ok"]);
  assert.deepEqual(troubleFirst([s("a"), odd, s("b", [{ kind: "fallback", grave: "warn" }]), ill]).map((x) => x.name), ["inventory", "b", "shipping", "a"]);
  assert.deepEqual(verdict([s("a"), odd]), { mood: "ok", text: "All 2 services are ready", detail: "A fault is injected into shipping." });
  assert.equal(verdict([s("a"), ill, { ...ill, name: "catalog" }]).text, "The breakers of catalog and inventory are open");
  const v = verdict([s("a"), ill, odd]);
  assert.equal(v.text, "inventory is not called: its breaker is open");
  assert.equal(v.detail, "2 of 3 services are ready. Faults are injected into inventory and shipping.");
});
