"""The report in a real browser: what only one can tell."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from houndsight.reporting import Document, render_html

pytestmark = pytest.mark.slow
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
WIDE = {"width": 1280, "height": 900}
NARROW = {"width": 380, "height": 800}
PATIENCE_MS = 180_000
"""A busy machine takes long to start a page."""
DRAWN = """(scheme) => document.fonts.status === 'loaded'
  && [...document.querySelectorAll('[data-chart]')].every(
    (e) => e.querySelector('svg') && e.dataset.drawn.startsWith(scheme))"""
PLACES = """(marks) => marks.flatMap((mark) => {
  const box = mark.getBoundingClientRect(), half = mark.getPointAtLength(mark.getTotalLength() / 2);
  const on = half.matrixTransform(mark.getScreenCTM());
  return [[box.x + box.width / 2, box.y + box.height / 2], [on.x, on.y]];
})"""
"""The middle of every mark, and a place on its line."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A Chromium of the system, or the one that playwright has fetched."""
    with playwright.sync_playwright() as started:
        found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
        found = found or started.chromium.executable_path
        if not Path(found).exists():
            pytest.skip("no Chromium is on this machine; CHROMIUM may name one elsewhere")
        browser = started.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def report(document: Document, folder: Path) -> Path:
    return written(document, folder / "report.html")


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """The report of four classes at a desktop's width; whatever is done, it must stay silent."""
    opened = Opened(browser, report, WIDE)
    yield opened.page
    opened.close()


class Opened:
    """A page with everything it complained of and asked for."""

    def __init__(self, browser: Any, path: Path, viewport: dict[str, int]) -> None:
        self.context = browser.new_context(viewport=viewport, color_scheme="light")
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda m: self.said.append(f"{m.type}: {m.text}"))
        self.page.on("pageerror", lambda e: self.said.append(f"error: {e}"))
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.address = path.as_uri()
        self.page.goto(self.address)
        self.page.wait_for_function(DRAWN, arg="light")

    def close(self) -> None:
        """Close it; nothing was complained of and nothing asked for but the page itself."""
        self.context.close()
        assert self.said == []
        assert [a for a in self.asked if a != self.address and not a.startswith("data:")] == []


def written(document: Document, path: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOUNDSIGHT_CACHE", str(path.parent / "cache"))
        path.write_text(render_html(document), encoding="utf-8")
    return path


def test_a_table_is_sorted_by_keyboard_alone(page: Any) -> None:
    table = page.locator("table.sortable").filter(has_text="Every class")
    heads, cells = table.locator("th[scope=col]"), table.locator("tbody tr > :nth-child(2)")

    def photos() -> list[float]:
        return [float(v) for v in cells.evaluate_all("all => all.map(c => c.dataset.value)")]

    before = photos()
    focus_by_tab(page, heads.nth(1).locator("button"))
    page.keyboard.press("Enter")
    assert photos() == sorted(before, reverse=True)
    assert heads.nth(1).get_attribute("aria-sort") == "descending"
    page.keyboard.press("Space")
    assert photos() == sorted(before)
    assert heads.nth(1).get_attribute("aria-sort") == "ascending"

    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    names = table.locator("tbody th").all_text_contents()
    assert names == sorted(names)
    assert heads.nth(1).get_attribute("aria-sort") is None


def focus_by_tab(page: Any, wanted: Any) -> None:
    """Press Tab until it has the focus, and see that it is shown to have it."""
    for _ in range(300):
        page.keyboard.press("Tab")
        if wanted.evaluate("e => e === document.activeElement"):
            assert wanted.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
            return
    raise AssertionError("Tab does not reach it")


def test_the_button_changes_the_scheme_and_the_charts(page: Any) -> None:
    button = page.locator("button.scheme")
    light = colours(page)
    assert button.inner_text() == "Dark"
    button.click()
    page.wait_for_function(DRAWN, arg="dark")
    dark = colours(page)
    assert button.inner_text() == "Light"
    assert all(light[name] != dark[name] for name in light)
    button.click()
    page.wait_for_function(DRAWN, arg="light")
    assert colours(page) == light


def test_the_page_follows_the_scheme_of_the_system(page: Any) -> None:
    light = colours(page)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(DRAWN, arg="dark")
    assert all(light[name] != colour for name, colour in colours(page).items())


def colours(page: Any) -> dict[str, str]:
    """The page's background, and the colours of each chart's text."""
    script = """() => Object.fromEntries([
      ['page', getComputedStyle(document.body).backgroundColor],
      ...[...document.querySelectorAll('[data-chart]')].map((e) => [e.dataset.chart,
        [...new Set([...e.querySelectorAll('text')].map(t => t.getAttribute('fill')))].join()])])"""
    found: dict[str, str] = page.evaluate(script)
    return found


def test_charts_tell_more_where_one_points(page: Any) -> None:
    told = {}
    for canvas in page.locator("[data-chart]").all():
        canvas.scroll_into_view_if_needed()
        told[canvas.get_attribute("data-chart")] = pointed_at(page, canvas)
    assert len(told) >= 8
    assert all(told.values()), told


def pointed_at(page: Any, canvas: Any) -> str:
    """What is told at the first mark that tells something."""
    places = canvas.locator("svg .role-mark path").evaluate_all(PLACES)
    for x, y in places[:80]:
        page.mouse.move(x, y)
        tip = page.locator(".tip")
        if tip.is_visible():
            text: str = tip.inner_text()
            page.mouse.move(0, 0)
            return text
    return ""


@pytest.mark.parametrize("name", ["document", "large_document", "hostile_document"])
def test_a_narrow_page_does_not_scroll_sideways(
    name: str, request: pytest.FixtureRequest, browser: Any, folder: Path
) -> None:
    opened = Opened(browser, written(request.getfixturevalue(name), folder / name), NARROW)
    wide = opened.page.evaluate(
        """() => [...document.querySelectorAll('main *')].filter(e => !e.closest('.scroll, .skip')
          && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
    )
    assert wide == []
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]
    opened.close()


def test_printing_draws_the_charts_light_and_opens_what_is_folded(page: Any) -> None:
    page.locator("button.scheme").click()
    page.wait_for_function(DRAWN, arg="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.wait_for_function(DRAWN, arg="light")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.wait_for_function(DRAWN, arg="dark")
    assert page.locator("details:not([open])").count() > 0
