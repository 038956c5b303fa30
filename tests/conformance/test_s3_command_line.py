"""The `aws s3` command line against the store."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from s3_server import S3Server

clidriver = pytest.importorskip("awscli.clidriver")
BIG = random.Random(4).randbytes((11 << 20) + 5)


class Aws:
    """Runs `aws s3 …` in this process: the interpreter's start would be most of the time."""

    def __init__(
        self, server: S3Server, folder: Path, patch: pytest.MonkeyPatch, capture: Any
    ) -> None:
        self._capture = capture
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            if name != "AWS_DATA_PATH":  # awscli's own, set at its import
                patch.delenv(name)
        for name, value in server.environment(folder).items():
            patch.setenv(name, value)

    def __call__(self, *arguments: str | Path, succeeds: bool = True) -> str:
        self._capture.readouterr()
        code = clidriver.create_clidriver().main(["s3", *map(str, arguments)])
        said = self._capture.readouterr()
        assert (code == 0) is succeeds, said.out + said.err
        return str(said.out + said.err)


@pytest.fixture
def aws(
    s3_server: S3Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Aws:
    return Aws(s3_server, tmp_path, monkeypatch, capsys)


def test_the_installed_command(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    command = shutil.which("aws", path=str(Path(sys.executable).parent)) or shutil.which("aws")
    assert command is not None
    s3_server.store.put(bucket, "k", b"body")
    done = subprocess.run(
        [sys.executable, command, "s3", "cp", f"s3://{bucket}/k", "-"],
        env=s3_server.environment(tmp_path),
        capture_output=True,
        timeout=120,
        check=True,
    )
    assert done.stdout == b"body"


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Files in folders, names with spaces and accents; one is larger than a part."""
    folder = tmp_path / "photos"
    for name in ("train/Affenpinscher/a 1.jpg", "train/Shih Tzu/ä+2.jpg", "valid/x.jpg"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (folder / "big.bin").write_bytes(BIG)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_up_and_down(aws: Aws, bucket: str, photos: Path, tmp_path: Path) -> None:
    """What 129 of 149 public notebooks do: cp --recursive, ls, sync."""
    said = aws("cp", "--recursive", photos, f"s3://{bucket}/data")
    assert said.count("upload: ") == 4
    listed = aws("ls", f"s3://{bucket}/data/")
    assert "PRE train/" in listed
    assert f"{len(BIG)} big.bin" in listed
    everything = aws("ls", "--recursive", "--summarize", f"s3://{bucket}")
    assert "data/train/Affenpinscher/a 1.jpg" in everything
    assert "Total Objects: 4" in everything
    aws("cp", "--recursive", f"s3://{bucket}/data", tmp_path / "down")
    assert contents(tmp_path / "down") == contents(photos)


def test_sync(aws: Aws, bucket: str, photos: Path, tmp_path: Path) -> None:
    aws("sync", photos, f"s3://{bucket}")
    assert aws("sync", photos, f"s3://{bucket}") == ""  # nothing has changed
    (photos / "valid" / "x.jpg").unlink()
    (photos / "valid" / "new.jpg").write_bytes(b"new")
    said = aws("sync", "--delete", photos, f"s3://{bucket}")
    assert "delete: " in said
    assert said.count("upload: ") == 1
    aws("sync", f"s3://{bucket}", tmp_path / "down")
    assert contents(tmp_path / "down") == contents(photos)
    aws("sync", f"s3://{bucket}", f"s3://{bucket}/again")
    assert aws("ls", "--recursive", f"s3://{bucket}/again").count("\n") == 4


def test_single_objects(aws: Aws, bucket: str, photos: Path, tmp_path: Path) -> None:
    aws("cp", photos / "big.bin", f"s3://{bucket}/b")
    aws("cp", f"s3://{bucket}/b", f"s3://{bucket}/copy")  # larger than a part: UploadPartCopy
    aws("mv", f"s3://{bucket}/copy", tmp_path / "moved")
    assert (tmp_path / "moved").read_bytes() == BIG
    aws("ls", f"s3://{bucket}/copy", succeeds=False)
    aws("mv", tmp_path / "moved", f"s3://{bucket}/back")
    aws("mv", f"s3://{bucket}/back", f"s3://{bucket}/there")
    aws("rm", f"s3://{bucket}/there")
    assert aws("ls", f"s3://{bucket}").split()[2:] == [str(len(BIG)), "b"]
    said = aws("cp", f"s3://{bucket}/none", tmp_path / "none", succeeds=False)
    assert 'An error occurred (404) when calling the HeadObject operation: Key "none"' in said


def test_buckets(aws: Aws) -> None:
    assert "make_bucket: made-here" in aws("mb", "s3://made-here")
    assert "made-here" in aws("ls")
    aws("rb", "s3://made-here")
    aws("ls", "s3://made-here", succeeds=False)


def test_remove_recursively(aws: Aws, s3_server: S3Server, bucket: str) -> None:
    with ThreadPoolExecutor(16) as pool:  # more than one DeleteObjects holds
        list(pool.map(lambda n: s3_server.store.put(bucket, f"p/{n}", b""), range(1005)))
    aws("rm", "--recursive", "--quiet", f"s3://{bucket}/p")
    assert not s3_server.store.list(bucket).objects
    s3_server.store.put(bucket, "last", b"")
    aws("rb", "--force", f"s3://{bucket}")
