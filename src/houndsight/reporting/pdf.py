"""A `Document` as a PDF, set by Typst; charts are vectors in the report's own font.

Every text of the document reaches Typst in a JSON file and is shown as data: nothing in it is
ever read as Typst markup or code.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typst
import vl_convert

from houndsight._version import __version__
from houndsight.reporting.charts import VEGALITE_VERSION, chart_config
from houndsight.reporting.document import Chart, Document, Photo
from houndsight.reporting.fonts import FONT_FOLDER, missing_scripts

__all__ = ["render_pdf"]

_TEMPLATE = Path(__file__).parent / "templates" / "report.typ"
PAGE_WIDTH_PX = 720
"""The text's width on A4; a narrow chart takes a little less than half."""


def render_pdf(document: Document) -> bytes:
    """The report on A4 pages, tagged for screen readers.

    Scripts that neither the report's font nor a system font has are named on the first page.
    """
    with tempfile.TemporaryDirectory(prefix="houndsight-report-") as name:
        folder = Path(name)
        content = _plain(document, folder)
        content["version"] = __version__
        content["unprinted"] = missing_scripts(json.dumps(content, ensure_ascii=False))
        (folder / "document.json").write_text(json.dumps(content), encoding="utf-8")
        (folder / "report.typ").write_bytes(_TEMPLATE.read_bytes())
        compiled = typst.compile(
            folder / "report.typ", root=folder, font_paths=[FONT_FOLDER], format="pdf"
        )
    assert isinstance(compiled, bytes)
    return compiled


def _plain(value: Any, folder: Path) -> Any:
    """The document as JSON values; charts and photos become files beside it."""
    if isinstance(value, Chart):
        return _chart(value, folder)
    if isinstance(value, Photo):
        return _photo(value, folder)
    if dataclasses.is_dataclass(value):
        fields = {f.name: _plain(getattr(value, f.name), folder) for f in dataclasses.fields(value)}
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, Mapping):
        return {str(k): _plain(v, folder) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(v, folder) for v in value]
    return value


def _chart(chart: Chart, folder: Path) -> dict[str, Any]:
    room = PAGE_WIDTH_PX if chart.wide else PAGE_WIDTH_PX // 2 - 26
    width = min(room, chart.max_width) if chart.max_width else room
    name = f"chart-{chart.id}.svg"
    (folder / name).write_text(_svg(chart, width), encoding="utf-8")
    kept = {k: getattr(chart, k) for k in ("id", "title", "alt", "caption", "wide")}
    return {"kind": "Chart", **kept, "file": name, "share": width / room}


def _svg(chart: Chart, width: int) -> str:
    _register_fonts()
    spec = {
        **{k: v for k, v in chart.spec.items() if k != "config"},
        "width": width,
        "height": chart.height,
        "autosize": {"type": "fit", "contains": "padding"},
    }
    svg: str = vl_convert.vegalite_to_svg(
        spec, vl_version=VEGALITE_VERSION, config=chart_config("light"), allowed_base_urls=[]
    )
    return svg


def _photo(photo: Photo, folder: Path) -> dict[str, Any]:
    name = f"photo-{len(list(folder.glob('photo-*.jpg')))}.jpg"
    (folder / name).write_bytes(photo.jpeg)
    return {"kind": "Photo", "file": name, "alt": photo.alt, "lines": list(photo.lines)}


@functools.cache
def _register_fonts() -> None:
    vl_convert.register_font_directory(str(FONT_FOLDER))
