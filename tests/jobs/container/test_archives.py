"""Archives from anyone, and archives of what a job has left."""

from __future__ import annotations

import io
import tarfile
import zipfile

import pytest
from container_support import tar_gz

from houndsight.jobs.container.archives import extract, pack
from houndsight.jobs.container.command import ContainerError


def _with(kind: bytes = tarfile.REGTYPE, name: str = "x", link: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, link
        tar.addfile(info, io.BytesIO())
    return buffer.getvalue()


def _bomb() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=9) as tar:
        info = tarfile.TarInfo("zeros")
        info.size = 2_000_000_000
        block = b"\0" * (1 << 20)

        class Zeros:
            def read(self, count):
                return block[:count]

        info.size = 600_000_000
        tar.addfile(info, Zeros())
    return buffer.getvalue()


def _zip(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    return buffer.getvalue()


HOSTILE = {
    "parent": (_with(name="a/../../x"), ["'a/../../x'", "leads out"]),
    "absolute": (_with(name="/etc/passwd"), ["'/etc/passwd'", "leads out"]),
    "symbolic link": (_with(tarfile.SYMTYPE, "evil", "/etc/passwd"), ["'evil'", "a link"]),
    "hard link": (_with(tarfile.LNKTYPE, "hard", "x"), ["'hard'", "a link"]),
    "device": (_with(tarfile.CHRTYPE, "null"), ["'null'", "a device or pipe"]),
    "pipe": (_with(tarfile.FIFOTYPE, "pipe"), ["'pipe'", "a device or pipe"]),
    "zip": (_zip("../x"), ["'../x'", "leads out"]),
    "text": (b"import torch\n" * 100, ["neither a tar nor a zip"]),
    "empty": (b"", ["neither a tar nor a zip"]),
    "cut": (tar_gz({"a": "x" * 10_000})[:-60], ["damaged"]),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused_by_name(tmp_path, kind):
    content, words = HOSTILE[kind]
    archive = tmp_path / "archive"
    archive.write_bytes(content)
    with pytest.raises(ContainerError) as refused:
        extract(archive, tmp_path / "target", name="s3://bucket/source.tar.gz")
    assert "s3://bucket/source.tar.gz" in str(refused.value)
    for word in words:
        assert word in str(refused.value)
    assert not (tmp_path / "x").exists()


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path):
    archive = tmp_path / "bomb"
    archive.write_bytes(_bomb())
    with pytest.raises(ContainerError, match="unpacks to more than"):
        extract(archive, tmp_path / "target", name="bomb")
    assert sum(p.stat().st_size for p in tmp_path.rglob("zeros")) == 0


def test_a_source_is_unpacked_whole(tmp_path):
    archive = tmp_path / "source.tar.gz"
    files = {"train.py": "x", "lib/a.py": "y", ".hidden": "z", "run.sh": "#!/bin/sh\n"}
    archive.write_bytes(tar_gz(files))
    assert extract(archive, tmp_path / "code", name="source") == 4
    for name, content in files.items():
        assert (tmp_path / "code" / name).read_text() == content
    assert (tmp_path / "code" / "run.sh").stat().st_mode & 0o100


def test_a_pack_follows_links_inside_and_leaves_out_the_rest(tmp_path):
    model = tmp_path / "model"
    (model / "sub").mkdir(parents=True)
    (model / "sub" / "model.pth").write_text("weights")
    (model / "best.pth").symlink_to("sub/model.pth")
    (model / "absolute.pth").symlink_to("/opt/ml/model/sub/model.pth")
    (model / "secret").symlink_to("/etc/passwd")
    (model / "gone").symlink_to("nowhere")
    said: list[str] = []
    count = pack(
        [model],
        tmp_path / "model.tar.gz",
        report=said.append,
        seen_as=lambda path: model / path[14:] if path.startswith("/opt/ml/model/") else None,
    )
    with tarfile.open(tmp_path / "model.tar.gz") as tar:
        contents = {m.name: tar.extractfile(m).read() for m in tar}
    assert contents == dict.fromkeys(["absolute.pth", "best.pth", "sub/model.pth"], b"weights")
    assert count == 3
    assert len(said) == 2
    assert any("secret is left out" in line for line in said)


def test_of_two_hosts_the_first_ones_file_stays(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.pth").write_text(name)
        (tmp_path / name / name).write_text(name)
    pack([tmp_path / "one", tmp_path / "two"], tmp_path / "m.tar.gz", report=print)
    with tarfile.open(tmp_path / "m.tar.gz") as tar:
        contents = {m.name: tar.extractfile(m).read() for m in tar}
    assert contents == {"model.pth": b"one", "one": b"one", "two": b"two"}
