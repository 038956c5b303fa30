"""What every test of the container contract may use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from houndsight.jobs.objects import ObjectStore
from houndsight.jobs.spec import Channel

sys.path.insert(0, str(Path(__file__).parent))
from container_support import BUCKET, Platform


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[Platform]:
    """An empty one."""
    objects = ObjectStore(tmp_path / "objects")
    objects.create_bucket(BUCKET)
    yield Platform(objects, tmp_path / "jobs")
    objects.close()


@pytest.fixture
def channel() -> Callable[..., Channel]:
    """Makes a channel of the bucket."""

    def make(name: str, key: str, **settings: Any) -> Channel:
        return Channel(name=name, s3_uri=f"s3://{BUCKET}/{key}", **settings)

    return make
