"""A `Document` as one HTML file that works offline: fonts, charts and pictures are inside."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from houndsight._version import __version__
from houndsight.config import cache_home
from houndsight.files import write_atomic
from houndsight.reporting.charts import VEGALITE_VERSION, chart_config
from houndsight.reporting.document import Block, Chart, Document

__all__ = ["render_html"]

_HERE = Path(__file__).parent
_SNIPPET = "window.houndsightEmbed = vegaEmbed;"


def render_html(document: Document) -> str:
    """The page: light and dark, for any width, printable; it asks for nothing over the network.

    Every text of the document is escaped; charts travel as JSON that cannot end its script.
    """
    charts = {c.id: _chart(c) for c in document.charts()}
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            document=document,
            charts=charts,
            configs={scheme: chart_config(scheme) for scheme in ("light", "dark")},
            bundle=_bundle() if charts else "",
            css=_own("report.css"),
            script=_own("report.js"),
            fonts=_fonts(),
            version=__version__,
        )
    )


def _chart(chart: Chart) -> dict[str, Any]:
    return {
        "spec": {k: v for k, v in chart.spec.items() if k not in ("config", "$schema")},
        "height": chart.height,
        "min_width": chart.min_width,
        "max_width": chart.max_width,
    }


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "kind": lambda block: type(block).__name__,
        "paired": _paired,
        "data_uri": _data_uri,
        "unstopped": lambda text: text.rstrip("."),
    }
    return environment


def _paired(blocks: Sequence[Block]) -> list[list[Block]]:
    """Blocks that stand side by side together, the others alone."""
    runs: list[list[Block]] = []
    for block in blocks:
        narrow = isinstance(block, Chart) and not block.wide
        before = runs[-1][-1] if runs else None
        if narrow and isinstance(before, Chart) and not before.wide and len(runs[-1]) < 2:
            runs[-1].append(block)
        else:
            runs.append([block])
    return runs


def _data_uri(jpeg: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()


@functools.cache
def _fonts() -> list[tuple[int, str]]:
    return [
        (weight, base64.b64encode((_HERE / "fonts" / f"Inter-{name}.woff2").read_bytes()).decode())
        for weight, name in ((400, "Regular"), (600, "SemiBold"))
    ]


@functools.cache
def _own(name: str) -> Markup:
    """Our own style or script, which needs no escaping."""
    return Markup((_HERE / "templates" / name).read_text(encoding="utf-8"))


@functools.cache
def _bundle() -> Markup:
    """Vega and Vega-Lite as one script, once a page, without a content delivery network.

    Making it takes seconds, so it is kept in the cache folder by what it was made from.
    """
    made_from = f"{metadata.version('vl-convert-python')} {VEGALITE_VERSION} {_SNIPPET}"
    digest = hashlib.blake2b(made_from.encode(), digest_size=8).hexdigest()
    kept = cache_home() / "charts" / f"vega-{digest}.js"
    try:
        script = kept.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        script = vl_convert.javascript_bundle(_SNIPPET, vl_version=VEGALITE_VERSION)
        with contextlib.suppress(OSError):
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(kept, script.encode())
    assert "</script" not in script.lower()
    return Markup(script)
