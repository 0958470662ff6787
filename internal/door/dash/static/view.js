// The camera over the map: fit, zoom and pan, by pointer, wheel and keys.

// view watches stage and tells look({x, y, k}) where the world is; still() is called for a click on nothing.
export function view(stage, look, still) {
  const at = { x: 0, y: 0, k: 1 };
  const limits = { least: 0.08, most: 2.5, readable: 0.58, natural: 1.2 };
  let width = 1, height = 1, home = null, down = false, moved = false;

  function apply() { look(at); }

  // frame shows all, or, when all would be too small to read, as much as can be read from the gateway on.
  function frame(all) {
    const W = stage.clientWidth, H = stage.clientHeight;
    if (!W || !H) return;
    let k = Math.min(W / width, H / height, limits.natural);
    if (!all && k < limits.readable) k = Math.min(limits.natural, Math.max(limits.readable, Math.min(W / width, 1)));
    at.k = Math.max(limits.least, k);
    at.x = (W - width * at.k) / 2;
    at.y = (H - height * at.k) / 2;
    if (width * at.k > W + 1) at.x = down && home ? clamp(W / 2 - (home.x + home.w / 2) * at.k, W - width * at.k, 0) : 0;
    if (height * at.k > H + 1) at.y = !down && home ? clamp(H / 2 - (home.y + home.h / 2) * at.k, H - height * at.k, 0) : 0;
    moved = false;
    apply();
  }

  function clamp(v, lo, hi) { return Math.max(lo, Math.min(hi, v)); }

  // hold keeps a part of the world in sight.
  function hold() {
    const W = stage.clientWidth, H = stage.clientHeight, keep = 60;
    at.x = clamp(at.x, keep - width * at.k, W - keep);
    at.y = clamp(at.y, keep - height * at.k, H - keep);
    moved = true;
    apply();
  }

  function zoom(factor, x = stage.clientWidth / 2, y = stage.clientHeight / 2) {
    const k = clamp(at.k * factor, limits.least, limits.most);
    at.x = x - (x - at.x) * k / at.k;
    at.y = y - (y - at.y) * k / at.k;
    at.k = k;
    hold();
  }

  stage.addEventListener("wheel", (ev) => {
    if (!ev.ctrlKey && !ev.metaKey) return; // the page scrolls
    ev.preventDefault();
    const r = stage.getBoundingClientRect();
    zoom(Math.exp(-ev.deltaY * 0.004), ev.clientX - r.left, ev.clientY - r.top);
  }, { passive: false });

  let drag = null;
  stage.addEventListener("pointerdown", (ev) => {
    if (ev.button !== 0 || ev.target.closest(".node")) return;
    drag = { x: ev.clientX, y: ev.clientY, far: false };
  });
  stage.addEventListener("pointermove", (ev) => {
    if (!drag) return;
    const dx = ev.clientX - drag.x, dy = ev.clientY - drag.y;
    if (!drag.far && Math.hypot(dx, dy) < 4) return;
    if (!drag.far) stage.setPointerCapture(ev.pointerId);
    Object.assign(drag, { x: ev.clientX, y: ev.clientY, far: true });
    at.x += dx; at.y += dy;
    hold();
  });
  const drop = (ev) => { const click = drag && !drag.far && ev.type === "pointerup"; drag = null; if (click) still(); };
  stage.addEventListener("pointerup", drop);
  stage.addEventListener("pointercancel", drop);
  stage.addEventListener("keydown", (ev) => {
    if (ev.ctrlKey || ev.metaKey || ev.altKey) return;
    if (ev.key === "+" || ev.key === "=") zoom(1.25);
    else if (ev.key === "-") zoom(0.8);
    else if (ev.key === "0") frame(true);
  });

  return {
    world(w, h, gate, isDown) {
      const same = w === width && h === height && down === isDown;
      width = w; height = h; home = gate; down = isDown;
      if (!same || !moved) frame(false);
    },
    resized() { if (!moved) frame(false); else hold(); },
    fit() { frame(true); },
    zoom,
    // show moves as little as is needed to have a node in sight.
    show(n) {
      const W = stage.clientWidth, H = stage.clientHeight, m = 24;
      const l = at.x + n.x * at.k, t = at.y + n.y * at.k, r = l + n.w * at.k, b = t + n.h * at.k;
      if (l >= m && t >= m && r <= W - m && b <= H - m) return;
      at.x += l < m ? m - l : r > W - m ? W - m - r : 0;
      at.y += t < m ? m - t : b > H - m ? H - m - b : 0;
      hold();
    },
  };
}
