// The map and the list of places beside it, in the file of `geodtr locate --map` and in the page of `geodtr serve`.
"use strict";
const byId = id => document.getElementById(id);
const all = selector => [...document.querySelectorAll(selector)];
const svg = byId("map"), METRES = Number(svg.dataset.metres);
const WIDTH = svg.viewBox.baseVal.width, HEIGHT = svg.viewBox.baseVal.height;
const DOT = Number(byId("tiles").getAttribute("stroke-width")), compare = byId("compare");
let zoom = 1, left = 0, top_ = 0, held = null, compared = null;

function draw() {
  // a unit of the drawing is less than a pixel on a phone, where marks and texts are to stay legible
  const size = Math.max(1, WIDTH / svg.clientWidth, HEIGHT / svg.clientHeight) || 1;
  byId("moving").setAttribute("transform", `matrix(${zoom} 0 0 ${zoom} ${-left * zoom} ${-top_ * zoom})`);
  byId("tiles").setAttribute("stroke-width", DOT / size);
  for (const mark of all(".mark")) {
    const x = (mark.dataset.x - left) * zoom, y = (mark.dataset.y - top_) * zoom;
    mark.setAttribute("transform", `translate(${x} ${y}) scale(${size})`);
  }
  byId("north").setAttribute("transform", `translate(${WIDTH - 34 * size} ${56 * size}) scale(${size})`);
  byId("scale").setAttribute("transform", `translate(${24 * size} ${HEIGHT - 24 * size}) scale(${size})`);
  const most = 180 * size * METRES / zoom, power = 10 ** Math.floor(Math.log10(most));
  const metres = power * (most >= 5 * power ? 5 : most >= 2 * power ? 2 : 1), length = metres * zoom / METRES / size;
  byId("bar").setAttribute("d", `M0 -6V0H${length}V-6`);
  const text = byId("bar-text");
  text.setAttribute("x", length / 2);
  text.textContent = metres >= 1000 ? metres / 1000 + " km" : Number(metres.toPrecision(3)) + " m";
}
function at(event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return [point.x, point.y];
}
function scaleBy(factor, x = WIDTH / 2, y = HEIGHT / 2) {
  const next = Math.min(Math.max(zoom * factor, 0.5), 5000);
  left += x / zoom - x / next; top_ += y / zoom - y / next; zoom = next; draw();
}
function moveBy(x, y) { left += x / zoom; top_ += y / zoom; draw(); }
function showAll() { zoom = 1; left = top_ = 0; draw(); }

svg.addEventListener("wheel", event => {
  event.preventDefault();
  scaleBy(Math.exp(-event.deltaY / 400), ...at(event));
}, { passive: false });
svg.addEventListener("pointerdown", event => {
  if (event.target.closest(".mark") || !event.isPrimary) return;
  held = at(event); svg.setPointerCapture(event.pointerId);
});
svg.addEventListener("pointerup", () => { held = null; });
svg.addEventListener("pointercancel", () => { held = null; });
svg.addEventListener("pointermove", event => {
  if (!held || !event.isPrimary) return;
  const [x, y] = at(event);
  moveBy(held[0] - x, held[1] - y); held = [x, y];
});
svg.addEventListener("dblclick", showAll);
byId("closer").addEventListener("click", () => scaleBy(1.6));
byId("farther").addEventListener("click", () => scaleBy(1 / 1.6));
const KEYS = {
  ArrowLeft: () => moveBy(-60, 0), ArrowRight: () => moveBy(60, 0), ArrowUp: () => moveBy(0, -60),
  ArrowDown: () => moveBy(0, 60), "+": () => scaleBy(1.6), "=": () => scaleBy(1.6), "-": () => scaleBy(1 / 1.6),
  0: showAll,
};
svg.addEventListener("keydown", event => {
  if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault(); KEYS[event.key]();
});

function light(item, on) {
  if (!item) return;
  for (const other of all(`.query.shown [data-rank="${item.dataset.rank}"]`)) other.classList.toggle("lit", on);
}
for (const [name, on] of [["pointerover", true], ["pointerout", false], ["focusin", true], ["focusout", false]])
  document.addEventListener(name, event => light(event.target.closest("[data-rank]"), on));

function show(place) {
  const picture = place.querySelector("img"), rank = Number(place.dataset.rank);
  compared = place;
  byId("compare-title").textContent = `Place ${rank}`;
  byId("compare-photo").src = place.closest(".query").querySelector("figure img").src;
  byId("compare-tile").src = picture.dataset.large || picture.src;
  byId("compare-text").textContent = place.lastElementChild.innerText.replaceAll("\n", " \u00b7 ");
  byId("before").disabled = !neighbour(-1); byId("next").disabled = !neighbour(1);
  if (!compare.open) compare.showModal();
}
function neighbour(step) {
  const rank = Number(compared.dataset.rank) + step;
  return compared.closest(".query").querySelector(`.place[data-rank="${rank}"]`);
}
function step(by) { const place = neighbour(by); if (place) show(place); }
document.addEventListener("click", event => {
  const item = event.target.closest("[data-rank]");
  const place = item && document.querySelector(`.query.shown .place[data-rank="${item.dataset.rank}"]`);
  if (place) show(place);
});
byId("before").addEventListener("click", () => step(-1));
byId("next").addEventListener("click", () => step(1));
byId("close").addEventListener("click", () => compare.close());
compare.addEventListener("keydown", event => {
  if (event.key === "ArrowLeft") step(-1);
  if (event.key === "ArrowRight") step(1);
});
compare.addEventListener("close", () => compared.focus());
byId("choice")?.addEventListener("change", event => {
  for (const part of all(".query")) {
    const chosen = part.dataset.query === event.target.value;
    part.classList.toggle("shown", chosen); part.classList.toggle("other", !chosen);
  }
});
window.addEventListener("resize", draw);
draw();
