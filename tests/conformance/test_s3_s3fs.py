"""The store through s3fs, as pandas and notebooks open `s3://` paths."""

from __future__ import annotations

import random
from typing import Any

import pytest
from s3_server import S3Server

s3fs = pytest.importorskip("s3fs")


@pytest.fixture
def files(s3_server: S3Server) -> Any:
    key = s3_server.keys.first()
    return s3fs.S3FileSystem(
        key=key.access_key,
        secret=key.secret,
        client_kwargs={"endpoint_url": s3_server.address, "region_name": "us-east-1"},
        use_listings_cache=False,
    )


def test_files_and_folders(files: Any, bucket: str) -> None:
    files.pipe(f"{bucket}/a/ä 1.txt", b"one")
    with files.open(f"{bucket}/a/b/two.txt", "w") as file:
        file.write("zwei")
    assert files.cat(f"{bucket}/a/ä 1.txt") == b"one"
    assert sorted(files.ls(f"{bucket}/a")) == [f"{bucket}/a/b", f"{bucket}/a/ä 1.txt"]
    assert sorted(files.find(bucket)) == [f"{bucket}/a/b/two.txt", f"{bucket}/a/ä 1.txt"]
    assert files.info(f"{bucket}/a/b/two.txt")["size"] == 4
    assert files.isdir(f"{bucket}/a")
    assert not files.exists(f"{bucket}/none")
    files.cp(f"{bucket}/a/ä 1.txt", f"{bucket}/copy")
    files.mv(f"{bucket}/copy", f"{bucket}/moved")
    assert files.cat(f"{bucket}/moved") == b"one"
    with pytest.raises(FileNotFoundError):
        files.open(f"{bucket}/none").read()
    files.rm(bucket, recursive=True)


def test_large_file_by_parts_and_seeks(files: Any, bucket: str) -> None:
    body = random.Random(5).randbytes(11 << 20)
    with files.open(f"{bucket}/big", "wb", block_size=5 << 20) as file:
        file.write(body)
    with files.open(f"{bucket}/big", "rb", block_size=1 << 20) as file:
        file.seek(7_000_000)
        assert file.read(1000) == body[7_000_000:7_001_000]
        file.seek(-10, 2)
        assert file.read() == body[-10:]
    assert files.cat(f"{bucket}/big") == body
