import test from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

const css = readFileSync(new URL("page.css", import.meta.url), "utf8");
const colours = new Map([...css.matchAll(/--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)/g)].map(([, name, light, dark]) => [name, { light, dark }]));

// Contrast of two colours: WCAG 2.2, "contrast ratio" and "relative luminance".
function contrast(a, b) {
  const light = (hex) => {
    const [r, g, bl] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16) / 255).map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * bl;
  };
  const [hi, lo] = [light(a), light(b)].sort((x, y) => y - x);
  return (hi + 0.05) / (lo + 0.05);
}

test("text can be read on every ground, light and dark: 4.8 to 1 or better", () => {
  const pairs = ["ground", "surface", "raised"].flatMap((on) => ["ink", "muted", "accent", "ok", "warn", "crit"].map((text) => [text, on]));
  pairs.push(["crit", "crit-ground"], ["ink", "crit-ground"], ["warn", "warn-ground"], ["ink", "warn-ground"]);
  for (const [text, on] of pairs) {
    for (const way of ["light", "dark"]) {
      const r = contrast(colours.get(text)[way], colours.get(on)[way]);
      assert.ok(r >= 4.8, `${way}: ${text} on ${on} is ${r.toFixed(2)} to 1`);
    }
  }
});
