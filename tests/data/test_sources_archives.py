"""Archives: what they hold is listed; what would harm is refused by name and leaves nothing."""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from houndsight.config import cache_home
from houndsight.data import archives
from houndsight.data.archives import unpack
from houndsight.data.folder import ImageFolder
from houndsight.data.settings import DataSettings
from houndsight.errors import DataError

GOOD = {"photos/cat/1.jpg": b"cat", "photos/dog/2.jpg": b"dog"}
LIMIT = 10_000_000


def make_zip(path: Path, members: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def make_tar(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def make_special_tar(path: Path, kind: bytes, link: str = "") -> Path:
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("photos/cat/1.jpg")
        info.type, info.linkname = kind, link
        archive.addfile(info)
    return path


def assert_refused(archive: Path, sentence: str, limit_bytes: int = LIMIT) -> None:
    with pytest.raises(DataError, match=sentence) as raised:
        unpack(archive, limit_bytes=limit_bytes)
    assert str(archive) in str(raised.value)
    folder = cache_home() / "archives"
    assert not folder.exists() or not [p for p in folder.iterdir() if p.suffix != ".lock"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"])
def test_archives_are_listed_like_folders(tmp_path: Path, name: str) -> None:
    modes = {"tar": "w", "gz": "w:gz", "tgz": "w:gz", "bz2": "w:bz2", "xz": "w:xz"}
    ending = name.rsplit(".", 1)[-1]
    path = tmp_path / name
    made = make_zip(path, GOOD) if ending == "zip" else make_tar(path, GOOD, modes[ending])
    folder = ImageFolder.open(made)
    assert folder.table["path"].to_pylist() == ["cat/1.jpg", "dog/2.jpg"]
    assert [p.read_bytes() for p in folder.all().paths()] == [b"cat", b"dog"]


def test_an_archive_is_known_by_content_not_by_ending(tmp_path: Path) -> None:
    assert len(ImageFolder.open(make_zip(tmp_path / "photos.jpg", GOOD))) == 2


def test_the_same_content_is_unpacked_once(tmp_path: Path) -> None:
    first = unpack(make_zip(tmp_path / "a.zip", GOOD), limit_bytes=LIMIT)
    marker = first / "photos/cat/1.jpg"
    marker.write_bytes(b"kept")
    (tmp_path / "b.zip").write_bytes((tmp_path / "a.zip").read_bytes())
    assert unpack(tmp_path / "b.zip", limit_bytes=LIMIT) == first
    assert marker.read_bytes() == b"kept"
    other = unpack(make_zip(tmp_path / "a.zip", {**GOOD, "x/3.jpg": b""}), limit_bytes=LIMIT)
    assert other != first


def test_what_a_killed_process_left_is_unpacked_again(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", GOOD)
    target = unpack(archive, limit_bytes=LIMIT)
    part = target.with_name(target.name + ".part")
    target.rename(part)
    (part / "photos/cat/1.jpg").write_bytes(b"half")
    assert (unpack(archive, limit_bytes=LIMIT) / "photos/cat/1.jpg").read_bytes() == b"cat"
    assert not part.exists()


def test_a_label_table_in_an_archive_may_name_its_own_photos_only(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"")
    text = f"path,label\ncat/1.jpg,cat\ndog/2.jpg,dog\n{tmp_path}/secret.jpg,x\n../../x.jpg,y\n"
    members = {"cat/1.jpg": b"", "dog/2.jpg": b"", "labels.csv": text.encode()}
    folder = ImageFolder.open(make_zip(tmp_path / "a.zip", members))
    assert folder.table["path"].to_pylist() == ["cat/1.jpg", "dog/2.jpg"]
    assert [(f.rule, f.count) for f in folder.findings] == [("PathsOutside", 2)]


@pytest.mark.parametrize(
    "name",
    ["../evil.jpg", "a/../../evil.jpg", "/evil.jpg", "C:/evil.jpg", "..\\evil.jpg", "\\evil"],
)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_paths_that_lead_out_are_refused_by_name(tmp_path: Path, name: str, make) -> None:  # type: ignore[no-untyped-def]
    archive = make(tmp_path / "archive", {**GOOD, name: b"evil"})
    assert_refused(archive, "evil.*leads out of the archive")
    assert not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.CHRTYPE, "a device or pipe"),
        (tarfile.BLKTYPE, "a device or pipe"),
        (tarfile.FIFOTYPE, "a device or pipe"),
    ],
)
def test_links_and_devices_are_refused_by_name(tmp_path: Path, kind: bytes, what: str) -> None:
    archive = make_special_tar(tmp_path / "a.tar", kind, "/etc/passwd")
    assert_refused(archive, f"'photos/cat/1.jpg', is {what}, which is not unpacked")


def test_links_in_a_zip_are_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("cat/1.jpg")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    assert_refused(tmp_path / "a.zip", "is a link, which is not unpacked")


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    content = bytearray(make_zip(tmp_path / "a.zip", {"cat/1.jpg": b"x"}).read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "a.zip").write_bytes(content)
    assert_refused(tmp_path / "a.zip", "is encrypted, which is not unpacked")


def test_bombs_are_refused_before_they_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = {"cat/1.jpg": bytes(5_000_000)}
    archive = make_zip(tmp_path / "a.zip", zeros)
    assert_refused(archive, "unpacks to more than 1,000,000 bytes", limit_bytes=1_000_000)
    monkeypatch.setattr(archives, "RATIO_FREE_BYTES", 1_000_000)
    assert_refused(archive, "unpacks to more than 1,0.*raise data.max_unpacked_gb")
    assert_refused(make_tar(tmp_path / "a.tgz", zeros, "w:gz"), "unpacks to more than")


def test_a_zip_that_lies_about_sizes_is_refused(tmp_path: Path) -> None:
    content = bytearray(make_zip(tmp_path / "a.zip", {"cat/1.jpg": bytes(100_000)}).read_bytes())
    central = content.index(b"PK\x01\x02")
    content[central + 24 : central + 28] = (10).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    assert_refused(tmp_path / "a.zip", "is damaged or not supported")


def test_a_tar_with_a_huge_header_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, 1 << 40
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    assert_refused(tmp_path / "a.tar", "has a header of")


def test_a_tar_that_skips_for_ever_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo(".hidden")
    info.size = 1 << 50
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2048))
    assert_refused(tmp_path / "a.tar", "unpacks to more than|is damaged")


def test_too_many_and_too_deep_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_refused(make_tar(tmp_path / "a.tar", {"d/" * 200 + "1.jpg": b""}), "path of 201 parts")
    monkeypatch.setattr(archives, "MAX_MEMBERS", 1)
    assert_refused(make_zip(tmp_path / "a.zip", GOOD), "holds more than 1 files")


def test_names_the_disk_cannot_hold(tmp_path: Path) -> None:
    assert_refused(
        make_zip(tmp_path / "a.zip", {"x" * 300 + ".jpg": b""}), "cannot be unpacked into"
    )
    assert_refused(make_zip(tmp_path / "b.zip", {"a": b"", "a/1.jpg": b""}), "cannot be unpacked")


def test_files_get_fresh_permissions(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("cat/1.jpg")
        info.mode, info.uid = 0o6777, 12345
        archive.addfile(info, io.BytesIO(b""))
    status = (unpack(tmp_path / "a.tar", limit_bytes=LIMIT) / "cat/1.jpg").stat()
    assert status.st_mode & 0o7111 == 0
    assert status.st_uid == os.getuid()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "it is empty"),
        (b"hello", "is no archive that can be unpacked: it is neither zip nor tar"),
        (b"<!DOCTYPE html><html>", "it is a web page"),
        (b"7z\xbc\xaf\x27\x1c", "it is a 7-Zip file; unpack it yourself"),
        (b"Rar!\x1a\x07", "it is a RAR file"),
        (b"\x1f\x8b\x08\x00garbage", "is damaged"),
        (b"PK\x03\x04garbage", "is damaged"),
    ],
)
def test_files_that_are_no_archive(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "photos.bin").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        ImageFolder.open(tmp_path / "photos.bin")


def test_other_sources_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere is not there"):
        ImageFolder.open(tmp_path / "nowhere")
    (tmp_path / "cat.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(DataError, match="is one photo; give the folder"):
        ImageFolder.open(tmp_path / "cat.jpg")
    with pytest.raises(DataError, match="ftp:// is not an address that photos can come from"):
        ImageFolder.open("ftp://example.org/photos.zip")


def test_addresses_are_fetched_and_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_zip(tmp_path / "a.zip", GOOD)
    asked: list[str] = []

    def fetch(url: str, *, limit_bytes: int, emit: object) -> Path:
        asked.append(f"{url} {limit_bytes}")
        return archive

    monkeypatch.setattr("houndsight.data.downloads.fetch_url", fetch)
    monkeypatch.setattr("houndsight.data.buckets.fetch_bucket", fetch)
    settings = DataSettings(max_download_gb=2)
    for source in ("https://example.org/a.zip", "s3://bucket/a.zip", "gs://bucket/a.zip"):
        assert len(ImageFolder.open(source, settings)) == 2
        assert asked.pop() == f"{source} 2000000000"


def test_limits_are_settings(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"cat/1.jpg": os.urandom(2_000_000)})
    with pytest.raises(DataError, match="unpacks to more than 1,000,000 bytes"):
        ImageFolder.open(archive, DataSettings(max_unpacked_gb=0.001))


member_names = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30
)
hostile_names = st.sampled_from(["../x", "/x", "a/../../x", "a/./b", "..", ".", "a//b", "C:x"])


def everything_outside(folder: Path) -> set[Path]:
    return {p for p in folder.rglob("*") if "archives" not in p.parts}


@settings(max_examples=80)
@given(
    st.lists(st.tuples(member_names | hostile_names, st.binary(max_size=50)), max_size=6),
    st.booleans(),
    st.binary(max_size=3),
    st.integers(0, 2000),
)
def test_any_archive_is_unpacked_inside_or_refused(
    tmp_path_factory: pytest.TempPathFactory,
    members: list[tuple[str, bytes]],
    as_zip: bool,
    damage: bytes,
    where: int,
) -> None:
    folder = tmp_path_factory.mktemp("any")
    path = folder / "archive"
    (make_zip if as_zip else make_tar)(path, dict(members))
    content = bytearray(path.read_bytes())
    content[where : where + len(damage)] = damage
    path.write_bytes(content)
    before = everything_outside(folder)
    try:
        target = unpack(path, limit_bytes=LIMIT, target=folder / "inside" / "target")
    except DataError as error:
        assert str(path) in str(error)
        assert not (folder / "inside" / "target").exists()
        return
    finally:
        assert {p for p in everything_outside(folder) - before if "inside" not in p.parts} == set()
    for found in target.rglob("*"):
        assert not found.is_symlink()
        assert found.is_file() or found.is_dir()
