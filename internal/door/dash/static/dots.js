// The moving dots on the map: one for a request while there are few, fewer than one when there are many.
//
// They stand still when the page is hidden, when the figures are old and for people who
// asked their system for less motion. At most 500 dots move; 30 pictures are drawn a second.

import { pointAt } from "./layout.js";

const speed = 84;     // pixels of the map a second
const most = 500;     // dots at once
const pictureMs = 32; // between two pictures

// frequency gives the dots a second for a rate: the rate itself up to 1/s, then by its logarithm, up to 5.
export function frequency(rate) {
  return rate <= 1 ? rate : Math.min(5, 1 + 0.8 * Math.log2(rate));
}

// dots draws on canvas, which covers stage.
export function dots(canvas, stage) {
  const g = canvas.getContext("2d");
  const calm = matchMedia("(prefers-reduced-motion: reduce)");
  let lines = [], at = { x: 0, y: 0, k: 1 }, paused = false, running = 0, last = 0, colours = null, coloursAt = 0;
  const flows = new Map(); // key -> {dots: [{at, bad}], due, n}

  const still = () => paused || document.hidden || calm.matches || !lines.some((l) => l.rate > 0);

  function wake() {
    if (still()) { stop(); return; }
    if (!running) { last = performance.now(); running = requestAnimationFrame(frame); }
  }
  function stop() {
    cancelAnimationFrame(running);
    running = 0;
    if (calm.matches || !lines.some((l) => l.rate > 0)) { flows.clear(); draw(); }
  }

  function frame(now) {
    if (still()) { stop(); return; }
    running = requestAnimationFrame(frame);
    if (now - last < pictureMs) return;
    step(Math.min(0.25, (now - last) / 1000));
    last = now;
    draw(now);
  }

  function step(dt) {
    let total = 0;
    for (const f of flows.values()) total += f.dots.length;
    for (const l of lines) {
      let f = flows.get(l.key);
      if (!f) flows.set(l.key, f = { dots: [], due: l.key.length % 7 / 7, n: 0 });
      for (const d of f.dots) d.at += speed * dt;
      f.dots = f.dots.filter((d) => d.at < l.length);
      f.due -= dt * frequency(l.rate);
      if (f.due <= 0 && l.rate > 0 && total < most) {
        f.n++;
        // Errors are spread evenly: the n-th dot is one when the sum of shares passes a whole number.
        f.dots.push({ at: 0, bad: Math.floor(f.n * l.errorRate) > Math.floor((f.n - 1) * l.errorRate) });
        total++;
      }
      if (f.due <= 0) f.due = Math.max(0, f.due + 1);
    }
  }

  function draw(now = 0) {
    const ratio = devicePixelRatio || 1;
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, canvas.width, canvas.height);
    if (!flows.size) return;
    if (!colours || now - coloursAt > 1000) {
      const css = getComputedStyle(stage);
      colours = { good: css.getPropertyValue("--dot-good-now") || css.color, bad: css.outlineColor };
      coloursAt = now;
    }
    g.setTransform(at.k * ratio, 0, 0, at.k * ratio, at.x * ratio, at.y * ratio);
    const r = (lines.length > 60 ? 1.9 : 2.5) / Math.max(0.7, Math.min(1, at.k));
    for (const bad of [false, true]) {
      g.fillStyle = bad ? colours.bad : colours.good;
      g.beginPath();
      for (const l of lines) {
        for (const d of flows.get(l.key)?.dots || []) {
          if (d.bad !== bad) continue;
          const p = pointAt(l.points, d.at);
          g.moveTo(p.x + r, p.y);
          g.arc(p.x, p.y, bad ? r * 1.2 : r, 0, 6.3);
        }
      }
      g.fill();
    }
  }

  document.addEventListener("visibilitychange", wake);
  calm.addEventListener("change", wake);

  return {
    edges(list) {
      lines = list;
      const keys = new Set(list.map((l) => l.key));
      for (const k of flows.keys()) if (!keys.has(k)) flows.delete(k);
      wake();
    },
    look(v) { at = v; if (!running) draw(); },
    pause(on) { paused = on; wake(); },
    resized() {
      const ratio = devicePixelRatio || 1;
      canvas.width = Math.round(stage.clientWidth * ratio);
      canvas.height = Math.round(stage.clientHeight * ratio);
      draw();
    },
  };
}
