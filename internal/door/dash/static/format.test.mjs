import test from "node:test";
import assert from "node:assert/strict";
import * as f from "./format.js";

const ready = (name, more = {}) => ({ name, state: "ready", ready: 1, desired: 1, rate: 0, errorRate: 0, ...more });

test("numbers are short and never lie about zero", () => {
  for (const [got, want] of [
    [f.rate(0), "0/s"], [f.rate(0.01), "<0.1/s"], [f.rate(0.34), "0.34/s"], [f.rate(12.34), "12/s"], [f.rate(999.4), "999/s"], [f.rate(1234), "1.2k/s"], [f.rate(2_500_000), "2.5M/s"],
    [f.millis(0), "–"], [f.millis(0.04), "40 µs"], [f.millis(0.83), "0.83 ms"], [f.millis(12.4), "12 ms"], [f.millis(1234), "1.2 s"], [f.millis(180_000), "3 min"],
    [f.share(0), "0 %"], [f.share(0.0004), "<0.1 %"], [f.share(0.123), "12 %"], [f.share(1), "100 %"],
    [f.plural(1, "hop"), "1 hop"], [f.plural(3, "hop"), "3 hops"],
  ]) assert.equal(got, want);
});

test("ages are told in one unit", () => {
  const now = Date.parse("2026-01-02T12:00:00Z");
  for (const [at, want] of [["2026-01-02T12:00:00Z", "now"], ["2026-01-02T11:59:52Z", "8 s"], ["2026-01-02T11:55:00Z", "5 min"], ["2026-01-02T08:00:00Z", "4 h"], ["2025-12-30T12:00:00Z", "3 d"], [null, "–"], ["2026-01-02T12:00:09Z", "now"]]) assert.equal(f.ago(at, now), want);
});

test("one sentence says how the system is", () => {
  const crash = ready("payments", { state: "crashing", ready: 0, lastError: "exit 1, 5 times in 2 min\npanic" });
  const failing = ready("orders", { rate: 6, errorRate: 0.4 });
  for (const [services, mood, text] of [
    [[], "busy", "No service yet"],
    [[ready("a")], "ok", "a is ready"],
    [["a", "b", "c", "d", "e", "g", "h"].map((n) => ready(n)), "ok", "All 7 services are ready"],
    [[ready("a"), crash], "crit", "payments is crashing: exit 1, 5 times in 2 min"],
    [[failing, crash, ready("a")], "crit", "payments is crashing: exit 1, 5 times in 2 min"],
    [[failing, ready("a")], "warn", "orders answers 40 % of its requests with errors"],
    [[ready("a", { state: "down" }), ready("b", { state: "down" })], "crit", "a and b are down"],
    [[crash, ready("b", { state: "down" }), ready("c")], "crit", "2 services in trouble: b and payments"],
    [[ready("a"), ready("b", { state: "starting" })], "busy", "b is starting"],
    [[ready("a", { state: "building" }), ready("b", { state: "starting" })], "busy", "b and a are starting".replace("b and a", "a and b")],
    [[ready("a"), ready("b", { state: "stopped" })], "ok", "1 of 2 services are ready"],
    [[ready("b", { state: "stopped" })], "off", "All services are stopped"],
    [[ready("b", { state: "partial", ready: 1, desired: 3 }), ready("c")], "warn", "b has 1 of 3 instances ready"],
  ]) {
    const v = f.verdict(services);
    assert.deepEqual([v.mood, v.text], [mood, text]);
  }
});

test("trouble comes first, then the alphabet", () => {
  const list = [ready("z"), ready("a"), ready("s", { state: "stopped" }), ready("x", { state: "starting" }), ready("e", { rate: 1, errorRate: 0.5 }), ready("k", { state: "crashing" })];
  assert.deepEqual(f.troubleFirst(list).map((s) => s.name), ["k", "e", "x", "s", "a", "z"]);
});

test("the address keeps what is selected, whatever its name", () => {
  const at = { service: "a b&c=d/é", trace: "4bf9" };
  assert.deepEqual({ ...f.readHash(f.writeHash(at)), login: undefined }, { ...at, login: undefined });
  assert.equal(f.writeHash({ service: "", trace: "" }), "");
  assert.equal(f.readHash("#login=T0k-_n&service=x").login, "T0k-_n");
});

test("what comes in is summed, latencies are not averaged", () => {
  const e = f.entry([{ from: "gateway", to: "a", rate: 30, errorRate: 0, p99Millis: 8 }, { from: "gateway", to: "b", rate: 10, errorRate: 0.4, p99Millis: 40 }, { from: "a", to: "b", rate: 99, errorRate: 1, p99Millis: 999 }]);
  assert.deepEqual([e.rate, e.errorRate, e.p99Millis], [40, 0.1, 40]);
});

test("waits grow and are bounded", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 99].map(f.backoff), [1000, 2000, 4000, 8000, 15000, 15000, 15000]);
});
