// Light, dark, or as the system has it; the choice is kept in this browser.

import { say } from "./dom.js";

const ways = ["auto", "light", "dark"];
const signs = { auto: "◐", light: "☀", dark: "☾" };
const names = { auto: "as the system", light: "light", dark: "dark" };

// theme lets button walk through the three.
export function theme(button) {
  const stored = () => { try { return localStorage.getItem("stoa-theme"); } catch { return null; } };
  let way = ways.includes(stored()) ? stored() : "auto";
  const apply = () => {
    if (way === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = way;
    say(button, signs[way]);
    button.setAttribute("aria-label", "Colours: " + names[way]);
    button.title = "Colours: " + names[way];
  };
  button.addEventListener("click", () => {
    way = ways[(ways.indexOf(way) + 1) % ways.length];
    try { localStorage.setItem("stoa-theme", way); } catch { /* private window: only for now */ }
    apply();
  });
  apply();
}
