// Light, dark, or as the system has it; the choice is kept in this browser.

import { h } from "./dom.js";

const ways = ["auto", "light", "dark"];
const signs = {
  auto: "M8 2.2a5.8 5.8 0 1 0 0 11.6a5.8 5.8 0 0 0 0-11.6M8 2.2v11.6M8 5.5h4.9M8 8.5h5.8M8 11.5h4.6",
  light: "M8 5.2a2.8 2.8 0 1 0 0 5.6a2.8 2.8 0 0 0 0-5.6M8 1v1.6M8 13.4V15M1 8h1.6M13.4 8H15M3 3l1.2 1.2M11.8 11.8L13 13M3 13l1.2-1.2M11.8 4.2L13 3",
  dark: "M13.2 9.8A5.8 5.8 0 0 1 6.2 2.8a5.8 5.8 0 1 0 7 7",
};
const names = { auto: "as the system", light: "light", dark: "dark" };

// theme lets button walk through the three.
export function theme(button) {
  const stored = () => { try { return localStorage.getItem("stoa-theme"); } catch { return null; } };
  let way = ways.includes(stored()) ? stored() : "auto";
  const apply = () => {
    if (way === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = way;
    button.replaceChildren(h("svg", { class: "mark line", viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" }, h("path", { d: signs[way] })));
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
