"""Training jobs without a supervisor: see `job_helper`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from job_helper import Job


@pytest.fixture
def make_job(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """Makes a job that asks for what is given; nothing of it is left running."""
    made: list[Job] = []

    def make(**asked: Any) -> Job:
        made.append(Job(tmp_path, **asked))
        return made[-1]

    yield make
    for job in made:
        job.end()
