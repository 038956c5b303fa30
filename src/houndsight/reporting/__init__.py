"""Findings and measurements made into a document; HTML and PDF from the same document."""

from houndsight.reporting.build import build_document
from houndsight.reporting.document import Document
from houndsight.reporting.doubt import doubtful_labels
from houndsight.reporting.html import render_html
from houndsight.reporting.pdf import render_pdf
from houndsight.reporting.thumbnails import worst_mistakes, write_thumbnails
from houndsight.reporting.write import write_report

__all__ = [
    "Document",
    "build_document",
    "doubtful_labels",
    "render_html",
    "render_pdf",
    "worst_mistakes",
    "write_report",
    "write_thumbnails",
]
