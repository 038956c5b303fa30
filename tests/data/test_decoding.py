"""Batches decoded ahead: order, errors, and processes that die on either side."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from PIL import Image

from houndsight.data.decode import Preprocessing, decode
from houndsight.data.decoding import decode_batches
from houndsight.data.workers import CRASHED, WorkerPool
from houndsight.errors import DataError

SMALL = Preprocessing(size=16, mean=(0, 0, 0), std=(1, 1, 1))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    """23 photos, each of its own colour; the 5th, 12th and 13th are bad."""
    made = []
    for number in range(23):
        made.append(tmp_path / f"{number:02d}.png")
        Image.new("RGB", (30, 20), (number * 10, 0, 255 - number)).save(made[-1])
    made[5].write_bytes(b"")
    made[12].write_text("no photo")
    made[13].write_bytes(made[0].read_bytes()[:60])
    return made


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_batches_are_in_order_and_name_what_is_bad(paths: list[Path], workers: int) -> None:
    batches = list(decode_batches(paths, SMALL, batch_size=4, workers=workers))
    assert len(batches) == 6
    assert np.concatenate([b.indices for b in batches]).tolist() == [
        index for index in range(23) if index not in (5, 12, 13)
    ]
    errors = {
        index: text.split(":")[0] for batch in batches for index, text in batch.errors.items()
    }
    assert errors == {5: "empty", 12: "not-an-image", 13: "truncated"}
    for batch in batches:
        for index, image in zip(batch.indices, batch.images, strict=True):
            np.testing.assert_array_equal(image, decode(paths[index], SMALL))


def test_images_may_be_kept(paths: list[Path]) -> None:
    batches = list(decode_batches(paths[:4] * 10, SMALL, batch_size=4, workers=1, ahead=1))
    for batch in batches:
        np.testing.assert_array_equal(batch.images, batches[0].images)


@pytest.mark.parametrize("workers", [0, 2, None])
def test_nothing_to_decode(workers: int | None) -> None:
    assert list(decode_batches([], SMALL, workers=workers)) == []


def test_only_bad_photos(tmp_path: Path) -> None:
    for workers in (0, 1):
        (batch,) = decode_batches([tmp_path / "none.jpg"], SMALL, workers=workers)
        assert batch.images.shape == (0, 16, 16, 3)
        assert batch.errors == {0: "missing"}


def test_leaving_early_leaves_no_process(paths: list[Path]) -> None:
    before = set(psutil.Process().children())
    batches = decode_batches(paths, SMALL, batch_size=2, workers=2)
    next(batches)
    assert len(set(psutil.Process().children()) - before) == 2
    batches.close()  # type: ignore[attr-defined]
    assert set(psutil.Process().children()) <= before


def test_a_killed_worker_is_replaced(paths: list[Path]) -> None:
    before = set(psutil.Process().children())
    many = paths * 20
    batches = decode_batches(many, SMALL, batch_size=10, workers=2)
    seen = [next(batches)]
    for worker in set(psutil.Process().children()) - before:
        worker.kill()
    seen += batches
    indices = np.concatenate([batch.indices for batch in seen])
    assert len(indices) == 20 * 20
    assert (np.diff(indices) > 0).all()


class UnpicklableThere:
    """A job that workers cannot take."""

    def __call__(self, item: int, _: object) -> int:
        return item

    def __reduce__(self) -> tuple[object, ...]:
        return (sys.exit, (7,))


def answers_of(job: object, items: range) -> dict[int, object]:
    answers: dict[int, object] = {}
    with WorkerPool(job, 2) as pool:  # type: ignore[arg-type]
        pool.submit((item, item) for item in items)
        while pool.outstanding:
            answers |= dict(pool.answers())
    return answers


def test_an_item_that_kills_its_workers_is_answered_for(tmp_path: Path) -> None:
    # A module that the workers can import, as the tests cannot be.
    module = tmp_path / "crashing.py"
    module.write_text(
        "import os, signal\n"
        "def job(item, memory):\n"
        "    if item == 7:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return item * item\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        from crashing import job  # type: ignore[import-not-found]

        answers = answers_of(job, range(20))
    finally:
        sys.path.remove(str(tmp_path))
        sys.modules.pop("crashing", None)
    assert answers == {item: CRASHED if item == 7 else item * item for item in range(20)}


def test_workers_that_cannot_start_are_told(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="workers to 0"):
        answers_of(UnpicklableThere(), range(3))


PARENT = """
    import signal, sys
    from pathlib import Path
    # Where the tests run in the background, a shell has told its children to ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from houndsight.data.decode import Preprocessing
    from houndsight.data.decoding import decode_batches
    paths = [Path(sys.argv[1])] * 100_000
    small = Preprocessing(size=16, mean=(0, 0, 0), std=(1, 1, 1))
    for batch in decode_batches(paths, small, batch_size=10, workers=2):
        print("batch", flush=True)
"""


def started(photo: Path) -> tuple[subprocess.Popen[str], list[psutil.Process]]:
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), str(photo)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    parent.stdout.readline()
    return parent, psutil.Process(parent.pid).children(recursive=True)


def test_workers_die_with_a_killed_parent_and_hold_no_torch(paths: list[Path]) -> None:
    parent, workers = started(paths[0])
    assert len(workers) == 2
    for worker in workers:
        assert not [m.path for m in worker.memory_maps() if "libtorch" in m.path]
    parent.kill()
    parent.communicate()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_ctrl_c_is_clean(paths: list[Path]) -> None:
    parent, workers = started(paths[0])
    time.sleep(0.2)
    parent.send_signal(signal.SIGINT)
    _, errors = parent.communicate(timeout=30)
    assert errors.count("Traceback") == 1
    assert "KeyboardInterrupt" in errors
    assert not psutil.wait_procs(workers, timeout=20)[1]
