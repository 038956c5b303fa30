"""Checkpoints: restored at the start, synced while the script runs."""

from __future__ import annotations

import os

from houndsight.jobs.container.checkpoints import CheckpointSync
from houndsight.jobs.spec import CheckpointSpec

SCRIPT = """
import os
folder = os.path.dirname(os.environ["SM_MODEL_DIR"]) + "/checkpoints"
count = int(open(folder + "/epoch").read()) if os.path.exists(folder + "/epoch") else 0
open(folder + "/epoch", "w").write(str(count + 1))
os.makedirs(folder + "/deep", exist_ok=True)
open(folder + "/deep/model.pth", "w").write("x" * count)
"""


def _stored(platform):
    infos = platform.objects.iterate("bucket", "ck/")
    return {info.key: platform.objects.path("bucket", info.key).read_bytes() for info in infos}


def test_a_second_job_goes_on_where_the_first_ended(platform):
    for count in (1, 2):
        checkpoint = CheckpointSpec(s3_uri="s3://bucket/ck")
        ended = platform.run(platform.spec({"t.py": SCRIPT}, checkpoint=checkpoint))
        assert ended.codes == {"algo-1": 0}, ended.log
        assert _stored(platform) == {
            "ck/deep/model.pth": b"x" * (count - 1),
            "ck/epoch": str(count).encode(),
        }


def test_only_settled_and_changed_files_are_uploaded(platform):
    spec = platform.spec({"t.py": ""}, checkpoint=CheckpointSpec(s3_uri="s3://bucket/ck/"))
    folder, _ = platform.prepare(spec)
    place = folder.host("algo-1").ml / "checkpoints"
    sync = CheckpointSync(spec, folder, platform.objects)
    (place / "old").write_text("1")
    os.utime(place / "old", (1_000, 1_000))
    (place / "being-written").write_text("half")
    (place / "link").symlink_to("/etc/passwd")
    assert sync.sync() == 1
    assert _stored(platform) == {"ck/old": b"1"}
    assert sync.sync() == 0
    (place / "old").write_text("2")
    os.utime(place / "old", (2_000, 2_000))
    assert sync.sync() == 1
    assert sync.sync(final=True) == 1
    assert _stored(platform) == {"ck/old": b"2", "ck/being-written": b"half"}


def test_a_new_supervisor_uploads_nothing_again(platform):
    spec = platform.spec({"t.py": ""}, checkpoint=CheckpointSpec(s3_uri="s3://bucket/ck"))
    folder, _ = platform.prepare(spec)
    place = folder.host("algo-1").ml / "checkpoints"
    (place / "a").write_text("1")
    os.utime(place / "a", (1_000, 1_000))
    assert CheckpointSync(spec, folder, platform.objects).sync() == 1
    assert CheckpointSync(spec, folder, platform.objects).sync() == 0
