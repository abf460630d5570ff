"""Reports in a real browser: no error, no request, nothing wider than a telephone, all of it within reach of keys."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from test_side_by_side import write_run

from geodtr_plugin.comparison.side_by_side import write_comparison_report
from geodtr_plugin.harness import run, settings

NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next((path for name in NAMES if (path := shutil.which(name))), None)
WIDTHS = (390, 1200)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory) -> dict[str, Path]:
    """Pages about a run off the tiles' centres, and about a comparison."""
    root = tmp_path_factory.mktemp("browser")
    words = "--recipe laptop_offset --test synth-suburb-offset --data.count 8 --epochs 0 --allow-untrained"
    run(settings(f"{words} --evaluation.examples 0 --device cpu --threads 1 --out {root / 'run'}"))
    for label in ("simple", "geodtr_plus:model.descriptors=4:chsg=raw:optim.lr=0.001"):
        write_run(root / "compare" / label.replace(":", ",") / "seed-0", recall=7, label=label)
    return {"run": root / "run/report.html", "comparison": write_comparison_report(root / "compare")}


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("what", ["run", "comparison"])
def test_a_report_in_a_browser(browser, reports, what, width):
    page = browser.new_page(viewport={"width": width, "height": 844})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(reports[what].as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true; })")
    assert said == [] and [url for url in asked if not url.startswith("data:")] == [reports[what].as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.locator("svg[role=img]").count() >= 2 and page.locator("h2").count() >= 5
    narrow = "[...document.querySelectorAll('svg text')].filter(text => text.getBoundingClientRect().height < 9).length"
    assert page.evaluate(narrow) == 0, "letters in charts can be read"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#main"
    page.close()
