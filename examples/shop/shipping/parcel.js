// A parcel, and everything that follows from its tracking number.
//
// Shipping keeps no data. A tracking number says when a parcel was handed in, how and where it
// goes, and the rest is arithmetic: any instance can answer for any parcel, and the
// same request made twice gives the same number.
//
//	PX S GR 00t6ix7k 9c41f0 7
//	│  │ │  │        │      └ check character over all before it
//	│  │ │  │        └ six hex digits of SHA-256 of the order id
//	│  │ │  └ when it was handed in: seconds since 1970, base 36, eight digits
//	│  │ └ country, ISO 3166-1
//	│  └ method: S standard, E express
//	└ the carrier
"use strict";

const { createHash } = require("node:crypto");

const COUNTRIES = {
  GR: { title: "Greece", zone: 0 }, IT: { title: "Italy", zone: 1 }, DE: { title: "Germany", zone: 1 },
  FR: { title: "France", zone: 1 }, ES: { title: "Spain", zone: 1 }, NL: { title: "Netherlands", zone: 1 },
  AT: { title: "Austria", zone: 1 }, GB: { title: "United Kingdom", zone: 2 }, CH: { title: "Switzerland", zone: 2 },
  SE: { title: "Sweden", zone: 2 }, US: { title: "United States", zone: 3 },
};

// Prices in cents: to hand a parcel in, and per kilogram begun. Days by zone.
const METHODS = {
  standard: { letter: "S", title: "Standard", base: [390, 690, 990, 1990], perKilo: [60, 120, 180, 420], days: [2, 4, 5, 9] },
  express: { letter: "E", title: "Express", base: [890, 1490, 1990, 3490], perKilo: [110, 210, 290, 690], days: [1, 2, 2, 4] },
};

// What happens to a parcel on its way, and how far along that is.
const STAGES = [
  { status: "registered", part: 0, text: "Label printed, waiting for the carrier" },
  { status: "collected", part: 0.15, text: "Handed to the carrier in Piraeus" },
  { status: "in_transit", part: 0.4, text: "Between Piraeus and you" },
  { status: "out_for_delivery", part: 0.85, text: "It will ring today" },
  { status: "delivered", part: 1, text: "Left at your door" },
];

// rates gives what each method costs and how many days it takes. country is one of COUNTRIES.
function rates(country, grams) {
  const zone = COUNTRIES[country].zone;
  const kilos = Math.max(1, Math.ceil(grams / 1000));
  return Object.entries(METHODS).map(([id, m]) => ({
    id, title: m.title, amount: m.base[zone] + kilos * m.perKilo[zone], currency: "EUR", days: m.days[zone],
  }));
}

// trackingNumber names the parcel of an order. It is pure: ask again, get the same.
function trackingNumber({ orderId, method, country, handedIn }) {
  const seconds = Math.floor(handedIn / 1000).toString(36).padStart(8, "0");
  const order = createHash("sha256").update(orderId).digest("hex").slice(0, 6);
  const body = "PX" + METHODS[method].letter + country + seconds + order;
  return body + check(body);
}

// read takes a tracking number apart; null if it is none.
function read(number) {
  const m = /^PX([SE])([A-Z]{2})([0-9a-z]{8})([0-9a-f]{6})([0-9a-z])$/.exec(number);
  if (!m || !COUNTRIES[m[2]] || check(number.slice(0, -1)) !== m[5]) return null;
  const method = m[1] === "S" ? "standard" : "express";
  return { method, country: m[2], handedIn: parseInt(m[3], 36) * 1000 };
}

// follow says where a parcel is at the time now, if a day of the carrier lasts dayMillis.
function follow(number, now, dayMillis) {
  const parcel = read(number);
  if (!parcel) return null;
  const days = METHODS[parcel.method].days[COUNTRIES[parcel.country].zone];
  const takes = days * dayMillis;
  const events = STAGES.map((s) => ({ at: parcel.handedIn + s.part * takes, status: s.status, text: s.text })).filter((e) => e.at <= now);
  if (events.length === 0) events.push({ at: parcel.handedIn, status: STAGES[0].status, text: STAGES[0].text }); // the clocks differ
  return {
    trackingNumber: number, method: parcel.method, country: parcel.country, days,
    status: events[events.length - 1].status,
    expectedAt: iso(parcel.handedIn + takes),
    events: events.map((e) => ({ ...e, at: iso(e.at) })),
  };
}

// check is a character that a single wrong or swapped character changes: a weighted sum modulo 37, where 36 counts as 0.
function check(body) {
  let sum = 0;
  for (let i = 0; i < body.length; i++) sum = (sum + parseInt(body[i], 36) * (i + 2)) % 37;
  return (sum % 36).toString(36);
}

const iso = (millis) => new Date(millis).toISOString();

module.exports = { COUNTRIES, METHODS, rates, trackingNumber, read, follow };
