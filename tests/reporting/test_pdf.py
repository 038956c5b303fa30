from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from pypdf import PdfReader

from houndsight.reporting import Document, build_document, render_pdf, write_report
from houndsight.reporting.fonts import FONT_FOLDER, covered, missing_scripts
from houndsight.runs import Run, RunStatus


def read(pdf: bytes) -> tuple[PdfReader, str]:
    reader = PdfReader(io.BytesIO(pdf))
    return reader, " ".join(" ".join(p.extract_text() for p in reader.pages).split())


@pytest.fixture(scope="module")
def paper(document: Document) -> tuple[PdfReader, str]:
    return read(render_pdf(document))


def test_the_pdf_tells_what_the_document_tells(
    document: Document, paper: tuple[PdfReader, str]
) -> None:
    reader, text = paper
    assert reader.metadata is not None and reader.metadata.title == "hounds: Houndsight report"
    for section in document.sections:
        assert section.title in text
    assert "Pass --group with what names the scene" in text
    assert "predicted class" in text  # charts are vectors: their text can be read
    assert "/StructTreeRoot" in reader.root_object  # tagged for screen readers


def test_only_the_shipped_font_is_used(paper: tuple[PdfReader, str]) -> None:
    fonts = {str(f["/BaseFont"]) for page in paper[0].pages for f in fonts_of(page)}
    assert fonts and all("Inter" in font for font in fonts)


def fonts_of(page: object) -> list[dict[str, object]]:
    resources = page["/Resources"]  # type: ignore[index]
    return [font.get_object() for font in resources.get("/Font", {}).values()]


def test_hostile_names_are_shown_never_run(hostile_document: Document) -> None:
    _, text = read(render_pdf(hostile_document))
    flat = text.replace(" ", "").replace("\u200b", "")
    assert '#panic("no")$#read("/etc/passwd")]}*/' in flat
    assert "*bold*_it_<label>@ref" in flat
    assert '#eval("1")' in flat


def test_scripts_without_a_font_are_named(
    fake_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("houndsight.reporting.fonts._system_fonts", list)
    run = fake_run(names=["狗", "كلب", "dog"], per_class=30)
    _, text = read(render_pdf(build_document(run)))
    assert "these scripts, so their characters are missing here: Arabic, CJK" in text


def test_the_font_covers_what_it_is_shipped_for() -> None:
    characters = covered(FONT_FOLDER / "Inter-Regular.otf", 0)
    assert {
        ord(c) for c in "AzÄßŁőÅñçΩλЖяěș…“”→⁻⁴≥€\N{MULTIPLICATION SIGN}\N{MINUS SIGN}"
    } <= characters
    assert ord("狗") not in characters
    assert covered(FONT_FOLDER / "OFL.txt", 0) == frozenset()
    assert missing_scripts("Grüße, Žluťoučký, Ωμέγα") == []
    assert sum(f.stat().st_size for f in FONT_FOLDER.iterdir() if f.is_file()) < 1_500_000


@pytest.mark.parametrize("status", [RunStatus.COMPLETED, RunStatus.FAILED])
def test_both_reports_are_written(fake_run: Callable[..., Run], status: RunStatus) -> None:
    run = fake_run(2, status=status)
    page, paper = write_report(run)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert paper.read_bytes().startswith(b"%PDF-")
    assert write_report(run, pdf=False) == (page,)


def test_a_report_of_120_classes_stays_short(large_document: Document) -> None:
    reader, text = read(render_pdf(large_document))
    assert len(reader.pages) <= 12
    assert "Bluetick setter" in text
