"""`houndsight cache`: what is kept, and how it is thrown away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from houndsight.cli.main import app
from houndsight.config import cache_home
from houndsight.data.facts import FactsCache, gather_facts
from houndsight.data.folder import ImageFolder


@pytest.fixture
def filled(photo_folder: Callable[..., Path]) -> Path:
    """A cache with the facts of eight photos and two megabytes of features."""
    gather_facts(ImageFolder.open(photo_folder({"a": 4, "b": 4})), workers=0)
    (cache_home() / "features" / "pack").mkdir(parents=True)
    (cache_home() / "features" / "pack" / "rows").write_bytes(bytes(2_000_000))
    return cache_home()


def said(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["cache", *arguments], catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_each_part_is_shown_with_its_size(filled: Path) -> None:
    lines = said().splitlines()
    assert [line.split()[0] for line in lines] == ["facts", "features", "in"]
    assert "2.0 MB" in lines[1] and "what the backbones computed" in lines[1]
    assert str(filled) in lines[2]


def test_facts_are_forgotten_where_they_lie(filled: Path) -> None:
    assert said("--prune", "facts").startswith("deleted facts, ")
    with FactsCache() as facts:
        assert facts.prune(0) == 0
    assert (filled / "features" / "pack" / "rows").exists()


def test_all_is_everything(filled: Path) -> None:
    assert said("--prune", "all").count("deleted") == 2
    assert [path.name for path in filled.iterdir() if path.is_dir()] == []


def test_an_unknown_part_is_named(filled: Path) -> None:
    result = CliRunner().invoke(app, ["cache", "--prune", "photos"])
    assert "there is no such cache" in str(result.exception)
    assert "holds facts, features" in str(result.exception)


def test_no_cache_at_all_is_nothing() -> None:
    assert said().split()[:3] == ["in", "all", "0"]
