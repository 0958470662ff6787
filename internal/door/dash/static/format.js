// How numbers, times and states are said. Pure: no page, no clock of its own.

// sig gives v with three significant digits, without needless zeros.
function sig(v) {
  if (v >= 100) return String(Math.round(v));
  return String(Number(v.toPrecision(v >= 10 ? 2 : 2)));
}

// count gives a number as people say it: 940, 1.2k, 3.4M.
export function count(v) {
  if (v >= 999_500) return sig(v / 1e6) + "M";
  if (v >= 1000) return sig(v / 1000) + "k";
  return sig(v);
}

// rate gives requests per second: "0/s", "0.3/s", "12/s", "1.2k/s".
export function rate(v) {
  if (!v) return "0/s";
  if (v < 0.05) return "<0.1/s";
  return count(v) + "/s";
}

// millis gives a length of time given in milliseconds: "0.8 ms", "12 ms", "1.2 s", "3 min".
export function millis(ms) {
  if (!ms) return "–";
  if (ms < 0.095) return Math.max(1, Math.round(ms * 1000)) + " µs";
  if (ms < 999.5) return sig(ms) + " ms";
  if (ms < 60_000) return sig(ms / 1000) + " s";
  return Math.round(ms / 60_000) + " min";
}

// share gives a share from 0 to 1 as per cent; what is not zero is never shown as zero.
export function share(v) {
  if (!v) return "0 %";
  if (v < 0.001) return "<0.1 %";
  return sig(v * 100) + " %";
}

// ago gives the time since an instant in one unit: "now", "8 s", "5 min", "2 h", "3 d".
export function ago(at, now) {
  if (!at) return "–";
  const s = Math.max(0, (now - Date.parse(at)) / 1000);
  if (s < 1.5) return "now";
  if (s < 90) return Math.round(s) + " s";
  if (s < 90 * 60) return Math.round(s / 60) + " min";
  if (s < 36 * 3600) return Math.round(s / 3600) + " h";
  return Math.round(s / 86400) + " d";
}

// clock gives the local time of an instant, to the second or the millisecond.
export function clock(at, millis) {
  const d = new Date(at);
  const two = (v) => String(v).padStart(2, "0");
  const s = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  return millis ? s + "." + String(d.getMilliseconds()).padStart(3, "0") : s;
}

// plural gives "1 service", "7 services".
export function plural(n, word) { return n === 1 ? `1 ${word}` : `${n} ${word}s`; }

// failing is the share of errors from which a ready service is in trouble.
const failing = 0.05;

// mood sorts states by what they mean to a person: crit, warn, busy, off or ok. What guards.js
// has to say of a service is in its signs.
export function mood(s) {
  switch (s.state) {
    case "crashing": case "failed": case "down": return "crit";
    case "partial": return "warn";
    case "building": case "starting": case "rolling": return "busy";
    case "stopped": return "off";
  }
  if (s.signs?.some((x) => x.grave === "crit")) return "crit";
  return fails(s) || s.signs?.some((x) => x.grave === "warn") ? "warn" : "ok";
}

function fails(s) { return s.errorRate >= failing && s.rate > 0; }

// shapeName gives the mark of a service in its mood: one that is up and in trouble is no circle.
export function shapeName(s, m = mood(s)) {
  return s.state === "ready" && m !== "ok" ? "failing" : s.state;
}

const moods = ["crit", "warn", "busy", "off", "ok"];

// troubleFirst gives services in the order in which they deserve attention, then by name.
export function troubleFirst(services) {
  const calm = (s) => s.signs?.length ? 0 : 1;
  return [...services].sort((a, b) => moods.indexOf(mood(a)) - moods.indexOf(mood(b)) || calm(a) - calm(b) || (a.name < b.name ? -1 : 1));
}

// stateText says the state in a word or two: "ready", "2 of 3 ready", "failing 12 %".
export function stateText(s) {
  if (s.state === "partial") return `${s.ready} of ${s.desired} ready`;
  if (s.state === "ready" && fails(s)) return `ready, ${share(s.errorRate)} errors`;
  return s.state;
}

// sentence says what is wrong with one service.
function sentence(s) {
  switch (s.state) {
    case "partial": return `${s.name} has ${s.ready} of ${s.desired} instances ready`;
    case "down": return `${s.name} does not answer`;
    case "failed": return `${s.name} failed to build or start`;
    case "ready": case "external": {
      const makes = s.signs?.[0]?.makes;
      return makes ? `${s.name} ${makes}` : `${s.name} answers ${share(s.errorRate)} of its requests with errors`;
    }
  }
  return `${s.name} is ${s.state}`;
}

function listing(names, most = 3) {
  if (names.length > most) return names.slice(0, most - 1).join(", ") + ` and ${names.length - most + 1} more`;
  return names.length < 2 ? names.join("") : names.slice(0, -1).join(", ") + " and " + names[names.length - 1];
}

// verdict says in one sentence how the system is: {mood, text, detail}. detail is a second, smaller line or "".
export function verdict(services) {
  const v = judged(services);
  const faults = services.filter((s) => s.signs?.some((x) => x.kind === "fault"));
  if (!faults.length) return v;
  const one = faults.length === 1 && faults[0].signs.some((x) => x.word === "fault injected");
  const told = `${one ? "A fault is" : "Faults are"} injected into ${listing(faults.map((s) => s.name).sort())}.`;
  return { ...v, detail: [v.detail, told].filter(Boolean).join(" ") };
}

function judged(services) {
  const all = troubleFirst(services);
  const of = (m) => all.filter((s) => mood(s) === m);
  const bad = [...of("crit"), ...of("warn")], busy = of("busy"), off = of("off");
  const well = all.length - bad.length - busy.length - off.length;
  const rest = bad.length && well ? `${well} of ${all.length} services are ready.` : "";
  if (!all.length) return { mood: "busy", text: "No service yet", detail: "Add one: stoa init service NAME" };
  const lead = of("crit").length === 1 || bad.length === 1 ? bad[0] : null;
  if (lead) { // the one that is down says more than those that suffer from it
    const why = lead.lastError && !lead.signs?.length ? ": " + firstLine(lead.lastError) : "";
    const others = bad.slice(1).map((s) => s.name);
    const also = others.length ? `${listing(others)} ${others.length === 1 ? "has" : "have"} trouble too.` : "";
    return { mood: mood(lead), text: sentence(lead) + why, detail: [also, rest].filter(Boolean).join(" ") };
  }
  const broken = of("crit").filter((s) => s.signs?.[0]?.kind === "open");
  if (broken.length > 1 && broken.length === of("crit").length) {
    const others = of("warn").map((s) => s.name);
    const also = others.length ? `${listing(others)} ${others.length === 1 ? "has" : "have"} trouble too.` : "";
    return { mood: "crit", text: `The breakers of ${listing(broken.map((s) => s.name))} are open`, detail: [also, rest].filter(Boolean).join(" ") };
  }
  if (bad.length) {
    const same = bad.every((s) => s.state === bad[0].state && s.state !== "partial" && s.state !== "ready");
    const text = same ? `${listing(bad.map((s) => s.name))} are ${bad[0].state}`
      : `${plural(bad.length, "service")} in trouble: ${listing(bad.map((s) => s.name))}`;
    return { mood: mood(bad[0]), text, detail: rest };
  }
  if (busy.length) {
    return { mood: "busy", text: `${listing(busy.map((s) => s.name))} ${busy.length === 1 ? "is" : "are"} ${busy.every((s) => s.state === busy[0].state) ? busy[0].state : "starting"}`, detail: `${well} of ${all.length} services are ready.` };
  }
  if (off.length === all.length) return { mood: "off", text: "All services are stopped", detail: "Start one: stoa start NAME" };
  if (off.length) {
    return { mood: "ok", text: `${well} of ${all.length} services are ready`, detail: `${listing(off.map((s) => s.name))} ${off.length === 1 ? "is" : "are"} stopped.` };
  }
  return { mood: "ok", text: all.length === 1 ? `${all[0].name} is ready` : `All ${all.length} services are ready`, detail: "" };
}

// firstLine cuts a text to what fits a headline.
export function firstLine(text, most = 120) {
  const line = text.split("\n").find((l) => l.trim()) || "";
  return line.length > most ? line.slice(0, most - 1) + "…" : line;
}

// entry sums what comes in from outside: {rate, errorRate, p99Millis}. The p99 is the highest of the routes, never an average.
export function entry(edges) {
  const inbound = edges.filter((e) => e.from === "gateway");
  const sum = inbound.reduce((s, e) => s + e.rate, 0);
  return {
    rate: sum,
    errorRate: sum ? inbound.reduce((s, e) => s + e.rate * e.errorRate, 0) / sum : 0,
    p99Millis: Math.max(0, ...inbound.map((e) => e.p99Millis)),
  };
}

// hues gives every context its hue, 0 to 7, by its place in the alphabet of contexts.
export function hues(contexts) {
  return new Map([...new Set(contexts)].filter(Boolean).sort().map((c, i) => [c, i % 8]));
}

// readHash and writeHash keep what is selected in the address: #service=orders&trace=4bf9...
export function readHash(hash) {
  const q = new URLSearchParams(hash.replace(/^#/, ""));
  return { service: q.get("service") || "", trace: q.get("trace") || "", login: q.get("login") || "" };
}

export function writeHash({ service, trace }) {
  const q = new URLSearchParams();
  if (service) q.set("service", service);
  if (trace) q.set("trace", trace);
  const s = q.toString();
  return s ? "#" + s : "";
}

// backoff gives the milliseconds to wait before try n (from 0): 1 s doubling to 15 s.
export function backoff(n) { return Math.min(15_000, 1000 * 2 ** Math.min(n, 4)); }
