// What protects each service, what it does at the moment, and how that is said. Pure.
//
// stoa top tells of guards by upstream and by route; stories puts together what is about
// one service. What is not as it is at rest becomes a sign: a kind, which has a shape of
// its own, a word, and a sentence with the figures.

import { ago, count, rate, share } from "./format.js";

// How grave each kind of sign is, the gravest first: crit and warn are trouble, note is not.
const kinds = [
  ["open", "crit"], ["half", "warn"], ["shed", "warn"], ["ejected", "warn"], ["budget", "warn"],
  ["fallback", "warn"], ["rated", "note"], ["fault", "note"],
];
const graveOf = new Map(kinds);

// stories gives for each service that something is known of: {service, at, breaker, rates, done, shed, faults, requests}.
//   at        its upstreams, as stoa top tells of them, most often one
//   breakers  those that are not closed, the gravest first: {breaker, since, before}, and the timeout
//             of those callers that it is for, where others wait longer and are not refused
//   rates     what was refused as there were more than a rate allows: [{where, rate, total}]
//   done      [{what, why, rate, total}] of all of them
//   shed      [{priority, rate, total}] refused for want of a place, the highest priority first
//   requests  calls to it a second, from whomever
export function stories(guards, faults, edges) {
  const all = new Map();
  const of = (service) => {
    if (!all.has(service)) all.set(service, { service, at: [], breakers: [], rates: [], done: [], shed: [], faults: [], requests: 0 });
    return all.get(service);
  };
  for (const g of guards || []) {
    if (!g.service) continue;
    const s = of(g.service);
    if (g.name.includes(" ")) { // listener and route
      for (const d of g.done || []) if (d.what === "refused") s.rates.push({ where: g.name, rate: d.rate, total: d.total });
      continue;
    }
    s.at.push(g);
    if (g.breaker) s.breakers.push(g);
    s.breakers.push(...(g.hasty || []));
    s.breakers.sort((a, b) => (a.breaker === "open" ? 0 : 2) + (a.timeout ? 1 : 0) - (b.breaker === "open" ? 0 : 2) - (b.timeout ? 1 : 0));
    for (const d of g.done || []) add(s.done, d, (o) => o.what === d.what && o.why === d.why);
    for (const d of g.shed || []) if (d.why !== "breaker") add(s.shed, d, (o) => o.priority === d.priority);
  }
  for (const f of faults || []) of(f.service).faults.push(f);
  for (const e of edges || []) if (all.has(e.to)) all.get(e.to).requests += e.rate;
  return all;
}

function add(list, item, same) {
  const old = list.find(same);
  if (!old) { list.push({ ...item }); return; }
  old.rate += item.rate;
  old.total += item.total;
}

// done sums what was done of a kind, for some reasons or for any: {rate, total}.
export function done(story, what, ...why) {
  const list = story.done.filter((d) => d.what === what && (!why.length || why.includes(d.why)));
  return { rate: list.reduce((s, d) => s + d.rate, 0), total: list.reduce((s, d) => s + d.total, 0) };
}

// standIn sums the failures for which something stood in: {rate, total, kinds}. "none" is none that was declared.
export function standIn(story) {
  const list = story.done.filter((d) => d.what === "fallback" && d.why !== "none");
  return {
    rate: list.reduce((s, d) => s + d.rate, 0), total: list.reduce((s, d) => s + d.total, 0),
    kinds: list.filter((d) => d.rate > 0).map((d) => d.why),
  };
}

// spared sums what was refused to spare the service, but by its breaker.
export function spared(story) { return done(story, "refused", "limit", "shed"); }

// part gives the share that rate is of the calls, at most all, and 0 where there are none.
export function part(rate, requests) { return requests > 0 ? Math.min(1, rate / requests) : 0; }

// signs gives what is not as at rest, the gravest first: [{kind, grave, word, says, makes}].
// makes is what it makes of the service, to stand after its name in a sentence.
export function signs(story, now) {
  if (!story) return [];
  const out = [];
  const sign = (kind, word, says, makes = "") => out.push({ kind, grave: graveOf.get(kind), word, says, makes });
  if (story.breakers.length) {
    const { breaker, since, timeout } = story.breakers[0];
    const long = since ? ` for ${ago(since, now).replace("now", "a moment")}` : "";
    const whose = timeout ? `calls that wait ${timeout} at most` : "calls";
    if (breaker === "open") sign("open", "breaker open", `breaker open${long}: ${whose} are refused`, timeout ? `is too slow for callers who wait ${timeout}: their breaker is open` : "is not called: its breaker is open");
    else sign("half", "breaker half open", `breaker half open${long}: some ${whose} are let through, to see`, "is tried again: its breaker is half open");
  }
  const s = spared(story);
  if (s.rate > 0) sign("shed", "shedding", `sheds ${rate(s.rate)} of ${rate(story.requests)}`, "has more calls than it can serve, and sheds some");
  const ejected = story.at.reduce((n, g) => n + (g.ejected || 0), 0);
  if (ejected) sign("ejected", `${ejected} ejected`, `${ejected === 1 ? "1 endpoint is" : ejected + " endpoints are"} left alone for a while`, "has endpoints that are left alone");
  const unrepeated = done(story, "not-retried", "budget");
  if (unrepeated.rate > 0) sign("budget", "no budget", `${rate(unrepeated.rate)} failures not repeated: the retry budget is used up`, "fails more often than may be repeated");
  const f = standIn(story);
  if (f.rate > 0) sign("fallback", "fallback", `${f.kinds.join(" and ")} fallback answers ${story.requests > 0 ? share(part(f.rate, story.requests)) + " of its calls" : rate(f.rate)}`, "fails, and others stand in for its answers");
  const r = story.rates.reduce((n, x) => n + x.rate, 0);
  if (r > 0) sign("rated", "rate limited", `${rate(r)} more than its rate allows`);
  const n = story.faults.length;
  if (n) sign("fault", n === 1 ? "fault injected" : `${n} faults`, `${n === 1 ? "a fault is" : n + " faults are"} injected, ${n === 1 ? "until it ends in" : "the last ends in"} ${until(story.faults[n - 1].until, now)}`);
  return out;
}

// until gives the time that is left until an instant: "4 min 10 s", "38 s", "2 h 5 min".
export function until(at, now) {
  const s = Math.max(0, Math.round((Date.parse(at) - now) / 1000));
  if (s < 60) return s + " s";
  if (s < 3600) return `${Math.floor(s / 60)} min` + (s % 60 ? ` ${s % 60} s` : "");
  return `${Math.floor(s / 3600)} h` + (s % 3600 >= 60 ? ` ${Math.floor(s % 3600 / 60)} min` : "");
}

// breakerText says how the breaker stands, and what the ten seconds before told: [state, sentence].
export function breakerText(story, calls, clock, now) {
  const b = story?.breakers[0];
  const spent = story ? done(story, "refused", "breaker") : { rate: 0, total: 0 };
  const refused = spent.total ? `${b ? `Refuses ${rate(spent.rate)}; ` : ""}${count(spent.total)} refused in all.` : "";
  if (!b) {
    const seen = calls.rate > 0 ? `In the last 10 s ${share(calls.errorRate)} of ${rate(calls.rate)} failed.` : "No call in the last 10 s.";
    return ["closed", [seen, refused].filter(Boolean).join(" ")];
  }
  const since = b.since ? ` since ${clock(b.since)}, ${ago(b.since, now)}`.replace(/, now$/, "") : "";
  const whose = b.timeout ? `It is that of callers who wait ${b.timeout} at most; others are let through.` : "";
  const before = b.before?.requests ? `In the 10 s before it opened ${share(b.before.failed / b.before.requests)} of ${count(b.before.requests)} calls failed, as callers saw it.` : "";
  return [(b.breaker === "open" ? "open" : "half open") + since, [whose, before, refused].filter(Boolean).join(" ")];
}

// placesText says how full an upstream is.
export function placesText(g) {
  const wait = g.waiting ? `, ${g.waiting} wait` + (g.waiting === 1 ? "s" : "") : "";
  const load = g.overload >= 0.01 ? `, overload ${share(g.overload)}` : "";
  return (g.limit ? `${g.inFlight || 0} of ${g.limit} places in use` : `${g.inFlight || 0} in flight, no limit`) + wait + load;
}

// sample is what is kept of a story each second, for the small lines of the last minute.
export function sample(story, s) {
  return {
    failed: s.rate > 0 ? s.errorRate : 0, open: Boolean(story?.breakers.length),
    inFlight: story ? story.at.reduce((n, g) => n + (g.inFlight || 0), 0) : 0,
    shed: story ? spared(story).rate : 0, retried: story ? done(story, "retried").rate : 0,
    fallback: story ? part(standIn(story).rate, story.requests) : 0, rated: story ? story.rates.reduce((n, x) => n + x.rate, 0) : 0,
  };
}
