"""The page in a real browser: a photo is dropped and found, with the mouse and with the keyboard alone."""

from __future__ import annotations

import base64
import shutil

import pytest
from hostile import image

from geodtr_plugin.search.map_page import write_map

playwright = pytest.importorskip("playwright.sync_api", reason="there is no playwright: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
DROP = """(zone, [name, data]) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0)), files = new DataTransfer();
  files.items.add(new File([bytes], name, { type: "image/png" }));
  for (const kind of ["dragenter", "dragover", "drop"])
    zone.dispatchEvent(new DragEvent(kind, { dataTransfer: files, bubbles: true, cancelable: true }));
}"""
SIZES = {"desk": (1280, 800), "phone": (390, 844)}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser, served, request):
    """The page, whose requests and errors are looked at in the end."""
    width, height = SIZES[getattr(request, "param", "desk")]
    context = browser.new_context(viewport={"width": width, "height": height})
    page, asked, errors = context.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None)
    page.goto(served.url)
    yield page
    assert errors == [] and len(asked) >= 4
    assert all(url.startswith((served.url + "/", "data:")) for url in asked)  # nothing from anywhere else
    context.close()


@pytest.mark.parametrize("page", SIZES, indirect=True)
def test_a_photo_is_dropped_and_its_places_are_compared(page, served, tmp_path):
    photo = image("PNG", seed=4)
    (tmp_path / "p.png").write_bytes(photo)
    expected = served.locator.locate([tmp_path / "p.png"], k=3)[0].matches
    page.locator("#ask").evaluate(DROP, ["<b>p.png", base64.b64encode(photo).decode()])
    page.wait_for_selector(".place")
    assert page.locator(".place").count() == 3 and page.locator(".mark").count() == 3
    first = page.locator(".place").first.inner_text()
    assert f"{expected[0].lat:.6f}, {expected[0].lon:.6f}" in first and f"looks to {expected[0].heading:.0f}°" in first
    assert "<b>p.png: 3 places found" in page.locator("#status").inner_text()
    assert page.locator(".tip").count() == 3
    page.locator('.mark[data-rank="2"]').dispatch_event("click")
    page.wait_for_selector("#compare[open]")
    assert page.locator("#compare-title").inner_text() == "Place 2"
    assert page.locator("#compare-tile").evaluate("image => image.decode().then(() => image.naturalWidth)") == 32
    page.locator("#next").click()
    assert page.locator("#compare-title").inner_text() == "Place 3" and page.locator("#next").is_disabled()
    page.locator("#close").click()
    width = page.viewport_size["width"]
    assert page.locator("html").evaluate("root => root.scrollWidth") <= width  # nothing to be moved sideways


def test_mistakes_are_told_in_words(page):
    def told():
        page.wait_for_selector("#error:not(:empty)")
        return page.locator("#error").inner_text()

    page.set_input_files("#photo", {"name": "<i>a.txt", "mimeType": "text/plain", "buffer": b"no image"})
    assert told() == "<i>a.txt is not an image of a known format."
    page.set_input_files("#photo", {"name": "large.png", "mimeType": "image/png", "buffer": bytes(1_000_001)})
    page.wait_for_selector("#error:has-text('large.png has 1.0 MB')")
    assert page.locator("#error").get_attribute("role") == "alert"
    page.route("**/locate*", lambda route: route.abort())
    page.set_input_files("#photo", {"name": "a.png", "mimeType": "image/png", "buffer": image("PNG")})
    page.wait_for_selector("#error:has-text('The server does not answer')")
    assert page.locator(".place").count() == 0 and page.locator("#progress").is_hidden()


def test_the_keyboard_is_enough(page, tmp_path):
    (tmp_path / "p.png").write_bytes(image("PNG", seed=5))

    def focused():
        return page.locator(":focus").evaluate("item => item.id || item.className")

    page.on("filechooser", lambda chooser: None)  # handed over from now on, well before the key
    page.keyboard.press("Tab")
    assert focused() == "photo"
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(tmp_path / "p.png")
    page.wait_for_selector(".place")
    order = []
    for _ in range(4):
        page.keyboard.press("Tab")
        order.append(focused())
    assert order == ["map", "closer", "farther", "place lit"]  # the place lights up its mark
    assert page.locator(".mark.lit").get_attribute("data-rank") == "1"
    page.keyboard.press("Enter")
    page.wait_for_selector("#compare[open]")
    page.keyboard.press("ArrowRight")
    assert page.locator("#compare-title").inner_text() == "Place 2"
    page.keyboard.press("Escape")
    page.wait_for_selector("#compare", state="hidden")
    page.wait_for_selector(".place.lit .rank >> text=2")  # a dialog tells that it is closed after it has gone
    assert focused() == "place lit"
    page.locator("#map").focus()
    before = page.locator("#moving").get_attribute("transform")
    for key, same in (("+", False), ("ArrowLeft", False), ("0", True)):
        page.keyboard.press(key)
        assert (page.locator("#moving").get_attribute("transform") == before) is same


def test_everything_has_a_name(page):
    """What a screen reader says of each thing that can be reached."""
    spoken = "item => item.ariaLabel || [...(item.labels ?? [])].map(label => label.innerText).join() || item.innerText"
    for item in page.locator("input:visible, button:visible, svg[tabindex]").all():
        assert item.evaluate(spoken).strip()
    assert page.locator("[role=status][aria-live=polite]").count() == 1 and page.locator("html").get_attribute("lang")


def test_the_file_of_locate_is_the_same_map_offline(browser, served, tmp_path):
    photos = [tmp_path / "a.png", tmp_path / "b.png"]
    for number, photo in enumerate(photos):
        photo.write_bytes(image("PNG", seed=number))
    write_map(served.locator.locate(photos, k=4), served.locator, tmp_path / "map.html")
    page, asked, errors = browser.new_page(), [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda line: errors.append(line.text))
    page.goto((tmp_path / "map.html").as_uri())
    page.select_option("#choice", "1")
    assert page.locator(".place:visible").count() == 4 and page.locator(".mark:visible").count() == 4
    page.locator(".place:visible").nth(1).click()
    assert page.locator("#compare-title").inner_text() == "Place 2"
    assert page.locator("#closer").evaluate("button => getComputedStyle(button).width") == "40px"  # the style is let in
    assert errors == [] and all(url.startswith(("file:", "data:")) for url in asked)
    page.close()
