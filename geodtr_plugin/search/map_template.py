"""The page of `map_page`: a string.Template, so that $$ stands for a dollar sign."""

from string import Template

PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>geodtr locate</title>
<style>
  * { box-sizing: border-box; }
  body { margin: 0; display: flex; height: 100vh; font: 13px/1.4 system-ui, sans-serif; color: #222; }
  aside { width: 340px; overflow-y: auto; padding: 12px; border-right: 1px solid #ccc; }
  main { flex: 1; min-width: 0; background: #f4f2ec; }
  svg { width: 100%; height: 100%; display: block; touch-action: none; cursor: grab; }
  select { width: 100%; margin-bottom: 10px; }
  .other, [hidden] { display: none; }
  figure { margin: 0 0 10px; } figure img { max-width: 100%; display: block; }
  figcaption, b { overflow-wrap: anywhere; }
  ol { list-style: none; margin: 0; padding: 0; }
  li { display: flex; gap: 8px; align-items: flex-start; padding: 5px; border-radius: 6px; }
  li.lit { background: #ffe9d6; }
  li img { width: 84px; height: 84px; object-fit: cover; }
  .rank { width: 20px; height: 20px; border-radius: 10px; flex: none; text-align: center; }
  .rank { background: #1f5fa8; color: #fff; }
  li:first-child .rank { background: #c8390b; }
  p { color: #666; }
  button { position: absolute; right: 14px; width: 30px; height: 30px; font-size: 17px; }
</style>
</head>
<body>
<aside>
<select id="choice" aria-label="query" $several>
$options
</select>
$panels
<p>$count references with coordinates are the dots. Wheel or buttons: zoom; drag: move; double-click: all.</p>
</aside>
<main>
<svg id="map" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 $width $height" font-family="sans-serif">
<style>
  .other { display: none; }
  .mark circle { fill: #1f5fa8; stroke: #fff; stroke-width: 1.5; }
  .mark.first circle { fill: #c8390b; } .mark.true circle { fill: #2e8b3d; }
  .mark text { fill: #fff; font-size: 12px; font-weight: bold; pointer-events: none; }
  .mark.lit circle { stroke: #ffb000; stroke-width: 4; }
</style>
<rect id="ground" width="$width" height="$height" fill="#f4f2ec"/>
<g id="moving">
<path id="tiles" d="$tiles" fill="none" stroke="#9aa3a0" stroke-width="$dot" stroke-linecap="round"
  vector-effect="non-scaling-stroke"/>
</g>
<g id="marks">
$marks
</g>
<g id="scale" transform="translate(24 696)">
<path id="bar" d="M0 -6V0H${bar}V-6" fill="none" stroke="#222" stroke-width="2"/>
<text id="bar-text" x="$bar_middle" y="-6" font-size="13" text-anchor="middle" fill="#222">$bar_text</text>
</g>
<g id="north" transform="translate(966 56)">
<path d="M0 -30L9 4L0 -3L-9 4Z" fill="#222"/>
<text y="20" font-size="15" font-weight="bold" text-anchor="middle" fill="#222">N</text>
</g>
</svg>
<button id="closer" style="bottom: 58px" title="closer">+</button>
<button id="farther" style="bottom: 24px" title="farther">&#8722;</button>
</main>
<script>
"use strict";
const METRES = $metres_a_unit, WIDTH = $width, HEIGHT = $height;
const svg = document.getElementById("map"), moving = document.getElementById("moving");
const all = selector => [...document.querySelectorAll(selector)];
let zoom = 1, left = 0, top_ = 0, held = null;

function draw() {
  moving.setAttribute("transform", `matrix($${zoom} 0 0 $${zoom} $${-left * zoom} $${-top_ * zoom})`);
  for (const mark of all(".mark")) {
    const x = (mark.dataset.x - left) * zoom, y = (mark.dataset.y - top_) * zoom;
    mark.setAttribute("transform", `translate($${x} $${y})`);
  }
  const most = 180 * METRES / zoom, power = 10 ** Math.floor(Math.log10(most));
  const metres = power * (most >= 5 * power ? 5 : most >= 2 * power ? 2 : 1), length = metres * zoom / METRES;
  document.getElementById("bar").setAttribute("d", `M0 -6V0H$${length}V-6`);
  const text = document.getElementById("bar-text");
  text.setAttribute("x", length / 2);
  text.textContent = metres >= 1000 ? metres / 1000 + " km" : Number(metres.toPrecision(3)) + " m";
}
function at(event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return [point.x, point.y];
}
function scaleBy(factor, x, y) {
  const next = Math.min(Math.max(zoom * factor, 0.5), 5000);
  left += x / zoom - x / next; top_ += y / zoom - y / next; zoom = next; draw();
}
function light(rank, on) {
  for (const item of all(`.query.shown [data-rank="$${rank}"]`)) item.classList.toggle("lit", on);
}
svg.addEventListener("wheel", event => {
  event.preventDefault();
  scaleBy(Math.exp(-event.deltaY / 400), ...at(event));
}, { passive: false });
svg.addEventListener("pointerdown", event => { held = at(event); svg.setPointerCapture(event.pointerId); });
svg.addEventListener("pointerup", () => { held = null; });
svg.addEventListener("pointermove", event => {
  if (!held) return;
  const [x, y] = at(event);
  left -= (x - held[0]) / zoom; top_ -= (y - held[1]) / zoom; held = [x, y]; draw();
});
svg.addEventListener("dblclick", () => { zoom = 1; left = top_ = 0; draw(); });
document.getElementById("closer").addEventListener("click", () => scaleBy(1.6, WIDTH / 2, HEIGHT / 2));
document.getElementById("farther").addEventListener("click", () => scaleBy(1 / 1.6, WIDTH / 2, HEIGHT / 2));
document.getElementById("choice").addEventListener("change", event => {
  for (const part of all(".query")) {
    const chosen = part.dataset.query === event.target.value;
    part.classList.toggle("shown", chosen); part.classList.toggle("other", !chosen);
  }
});
for (const item of all("li, .mark")) {
  item.addEventListener("pointerenter", () => light(item.dataset.rank, true));
  item.addEventListener("pointerleave", () => light(item.dataset.rank, false));
}
</script>
</body>
</html>
""")
