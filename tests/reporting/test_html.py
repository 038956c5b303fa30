from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser

import pytest

from houndsight.reporting import Document, build_document, render_html
from houndsight.runs import Run

VOID = {"meta", "img", "br", "path", "circle", "link"}


class Page(HTMLParser):
    """Elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(document: Document) -> str:
    return render_html(document)


def test_the_page_asks_for_nothing(page: str) -> None:
    parsed = Page(page)
    assert not parsed.open
    assert not parsed.all("link")
    for _, attributes in parsed.tags:
        for name in ("src", "href", "action", "poster", "srcset", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:image/jpeg;base64,"))
    policy = next(a["content"] for a in parsed.all("meta") if a.get("http-equiv"))
    assert policy and "default-src 'none'" in policy and "eval" not in policy
    assert "url(http" not in page and "@import" not in page


def test_the_page_holds_one_bundle_and_both_schemes(page: str) -> None:
    assert page.count("window.houndsightEmbed=") == 1
    configs = read_json(page, "chart-configs")
    assert configs["light"]["range"] != configs["dark"]["range"]
    charts = read_json(page, "charts")
    canvases = {a["data-chart"] for a in Page(page).all("div") if "data-chart" in a}
    assert canvases == set(charts)
    assert "#0072b2" not in json.dumps(charts)


def test_the_page_can_be_read_without_seeing_it(page: str) -> None:
    parsed = Page(page)
    assert parsed.all("html")[0]["lang"] == "en"
    assert len(parsed.all("h1")) == len(parsed.all("main")) == 1
    assert all(a.get("alt") for a in parsed.all("img"))
    assert all(a.get("aria-label") for a in parsed.all("div") if "data-chart" in a)
    assert len(parsed.all("caption")) == len(parsed.all("table")) > 3
    assert all(a.get("scope") in ("col", "row") for a in parsed.all("th"))
    ids = [a["id"] for _, a in parsed.tags if a.get("id")]
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))


def test_hostile_names_stay_text(hostile_document: Document) -> None:
    text = render_html(hostile_document)
    parsed = Page(text)
    assert not parsed.open
    assert len(parsed.all("script")) == 4
    assert not any("onerror" in a or "onload" in a for _, a in parsed.tags)
    told = "".join(parsed.text)
    assert "<script>alert('title')</script> #panic" in told
    assert "{{ 7 * 7 }} </dl>" in told
    charts = read_json(text, "charts")
    assert "</script>" in json.dumps(charts["confusion"])
    assert "\u202e" not in text


def test_a_page_of_120_classes_is_light(large_document: Document) -> None:
    page = render_html(large_document)
    assert len(page.encode()) < 5_000_000
    assert Page(page).text.count("Afghan hound") >= 1


def test_a_run_with_nothing_yet_renders(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = Run.create(tmp_path_factory.mktemp("new"), kind="run", config={})
    page = render_html(build_document(run))
    assert "houndsightEmbed=" not in page and "Still running" in page


def read_json(page: str, name: str) -> dict[str, dict[str, object]]:
    found = re.search(rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S)
    assert found
    value: dict[str, dict[str, object]] = json.loads(found[1])
    return value
