import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from houndsight.jobs.objects import ObjectStore

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    """A store with an empty bucket called `bucket`."""
    made = ObjectStore(tmp_path / "objects")
    made.create_bucket("bucket")
    yield made
    made.close()
