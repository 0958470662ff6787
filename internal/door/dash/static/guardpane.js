// The part "Guards" of a service's page: what protects it, what that does now, and what it did.

import { h, say, mark, keyed } from "./dom.js";
import { clock, count, rate, share } from "./format.js";
import { breakerText, done, part, placesText, spared, standIn, until } from "./guards.js";
import { drawSpark, spark } from "./services.js";

// In how many words a reason for not repeating a failure is said.
const unrepeated = {
  budget: "the budget is used up", attempts: "as often as may be", unsafe: "not safe to repeat", body: "its body is gone", deadline: "no time left",
  later: "asked to come later", told: "told not to", pushback: "told not to", breaker: "the breaker is open",
};

// createGuards gives {section, show(known, s)}.
export function createGuards() {
  const body = h("dl", { class: "guards" }), none = h("p", { class: "fine", "data-test": "guards-none" });
  const section = h("section", { "data-test": "guards" }, h("h3", {}, "Guards"), none, body, h("p", { class: "fine guards-key" }, "Rates are of the last 10 s, lines of the last minute; in all: since Stoa started."));
  const rows = new Map();

  // row shows one guard: its name, how it stands, what that means, and the last minute of one figure.
  function row(key, title, { state = "", grave = "", text = "", lines = [], history, most, tone = "" }) {
    let r = rows.get(key);
    if (!r) {
      r = { el: h("div", { "data-guard": key }), state: h("strong", {}), text: h("span", { class: "fine" }), list: h("ul", {}), spark: spark(72, 20) };
      r.el.append(h("dt", {}, title), h("dd", {}, h("div", { class: "stand" }, r.state, r.spark), r.text, r.list));
      rows.set(key, r);
    }
    mark(r.el, "data-grave", grave || null);
    say(r.state, state);
    say(r.text, text);
    r.text.hidden = !text;
    r.list.hidden = !lines.length;
    keyed(r.list, lines, (l) => l.key, (l) => h("li", { "data-test": l.test }, ...(l.make ? l.make() : [])), (el, l) => (l.change ? l.change(el) : say(el, l.text)));
    drawSpark(r.spark, history || [], most);
    mark(r.spark, "class", "spark" + (tone ? " " + tone : ""));
    return r.el;
  }

  return {
    section,
    show(known, s) {
      const story = known.stories.get(s.name), past = known.samples.get(s.name) || [];
      none.hidden = Boolean(story);
      body.hidden = section.lastChild.hidden = !story;
      if (!story) {
        say(none, "There is nothing to tell: no call has passed a guard of it.");
        return;
      }
      const now = known.now(), at = (f) => past.map(f), list = [];
      const add = (...args) => list.push(row(...args));
      if (story.faults.length) add("faults", "Faults", faults(story, now));
      const [state, text] = breakerText(story, s, (t) => clock(t), now);
      add("breaker", "Breaker", { state, text, grave: story.breakers.length ? (story.breakers[0].breaker === "open" ? "crit" : "warn") : "", history: at((x) => x.failed), most: 1, tone: "failed" });
      add("places", "Concurrency", places(story, at));
      if (story.rates.length) {
        const r = story.rates.reduce((n, x) => n + x.rate, 0);
        add("rates", "Rate limits", {
          state: r > 0 ? `${rate(r)} refused` : "nothing refused now", grave: r > 0 ? "note" : "", history: at((x) => x.rated),
          lines: story.rates.map((x) => ({ key: x.where, text: `${x.where}: ${rate(x.rate)}, ${count(x.total)} in all` })),
        });
      }
      add("retries", "Retries", retries(story, at));
      add("endpoints", "Endpoints", endpoints(story));
      add("fallback", "Fallback", fallback(story, at));
      for (const [what, title] of [["hedged", "Hedging"], ["cache", "Cache"]]) {
        const all = story.done.filter((d) => d.what === what);
        if (all.length) add(what, title, { state: all.map((d) => `${rate(d.rate)} ${d.why}`).join(", "), text: all.map((d) => `${count(d.total)} ${d.why}`).join(", ") + " in all." });
      }
      for (const [i, el] of list.entries()) if (body.children[i] !== el) body.insertBefore(el, body.children[i] || null);
      while (body.children.length > list.length) body.lastChild.remove();
    },
  };
}

function faults(story, now) {
  return {
    state: story.faults.length === 1 ? "1 in force" : `${story.faults.length} in force`, grave: "note",
    lines: story.faults.map((f) => ({
      key: f.name, test: "fault",
      make: () => [h("p", {}, h("b", {}, f.name), ": " + f.does), h("p", { class: "fine" }), h("p", { class: "fine" }), h("p", { class: "fine" }, "End it: ", h("code", {}, "stoa faults clear " + f.name))],
      change: (el) => {
        say(el.children[1], `Set by ${f.by}${f.reason ? ` (${f.reason})` : ""}; ends in ${until(f.until, now)}.`);
        say(el.children[2], f.matched ? `Of ${count(f.matched)} attempts it may meet, it delayed ${count(f.delayed)} and answered ${count(f.aborted)}.` : "No call has met it yet.");
      },
    })),
  };
}

function places(story, at) {
  const s = spared(story), full = story.at.some((g) => g.waiting > 0);
  const several = story.at.length > 1;
  const first = story.at.length ? placesText(story.at[0]) : "not told yet";
  const shed = story.shed.filter((x) => x.total > 0);
  return {
    state: several ? `${story.at.reduce((n, g) => n + (g.inFlight || 0), 0)} in flight` : first,
    grave: s.rate > 0 ? "warn" : full ? "note" : "", history: at((x) => x.inFlight),
    text: s.total ? `${rate(s.rate)} refused for want of a place, ${count(s.total)} in all.` : "Nothing refused for want of a place.",
    lines: [
      ...(several ? story.at.map((g) => ({ key: "at " + g.name, text: `${g.name}: ${placesText(g)}` })) : []),
      ...shed.map((x) => ({ key: "of " + x.priority, test: "shed", text: `priority ${x.priority}: ${rate(x.rate)} refused, ${count(x.total)} in all` })),
    ],
  };
}

function retries(story, at) {
  const r = done(story, "retried"), budgets = story.at.map((g) => g.budget).filter((b) => b !== undefined && b !== null);
  const used = budgets.length ? 1 - Math.min(...budgets) : null;
  const refused = story.done.filter((d) => d.what === "not-retried" && d.total > 0);
  return {
    state: r.rate > 0 ? `${rate(r.rate)} repeated` + (story.requests > 0 ? `, ${share(part(r.rate, story.requests))} of its calls` : "") : "none now",
    grave: done(story, "not-retried", "budget").rate > 0 ? "warn" : "", history: at((x) => x.retried),
    text: [used === null ? "No budget was asked for yet." : `${share(Math.max(0, used))} of the budget used.`, r.total ? `${count(r.total)} in all.` : ""].filter(Boolean).join(" "),
    lines: refused.map((d) => ({ key: d.why, text: `not repeated, ${unrepeated[d.why] || d.why}: ${rate(d.rate)}, ${count(d.total)} in all` })),
  };
}

function endpoints(story) {
  const out = story.at.reduce((n, g) => n + (g.ejected || 0), 0), e = story.done.filter((d) => d.what === "ejected");
  return {
    state: out ? `${out} left alone` : "none left alone", grave: out ? "warn" : "",
    text: e.length ? `Left alone ${e.map((d) => `${count(d.total)} ${d.total === 1 ? "time" : "times"} (${d.why})`).join(", ")} in all. Which, and why: stoa logs stoa.` : "",
  };
}

function fallback(story, at) {
  const f = standIn(story), none = done(story, "fallback", "none");
  return {
    state: f.rate > 0 ? `${share(part(f.rate, story.requests))} of its calls` + (f.kinds.length ? `, ${f.kinds.join(" and ")}` : "") : "none now",
    grave: f.rate > 0 ? "warn" : "", history: at((x) => x.fallback), most: 1,
    text: [f.total ? `${count(f.total)} answers have stood in for a failure.` : "No answer has stood in for a failure.", none.total ? `For ${count(none.total)} none could.` : ""].filter(Boolean).join(" "),
    lines: story.done.filter((d) => d.what === "fallback" && d.why !== "none").map((d) => ({ key: d.why, text: `${d.why}: ${rate(d.rate)}, ${count(d.total)} in all` })),
  };
}
