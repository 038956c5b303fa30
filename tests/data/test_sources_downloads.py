"""Downloads through a transport that stands for the network, and buckets through a local folder."""

import hashlib
import io
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from pyarrow import fs

from houndsight.config import cache_home
from houndsight.data import downloads
from houndsight.data.buckets import fetch_bucket
from houndsight.data.downloads import Expected, download, fetch_url, shown_url
from houndsight.errors import DataError, NetworkError
from houndsight.events import Event, StageProgress

URL = "https://example.org/sets/photos.tar"
CONTENT = bytes(range(256)) * 8000
LIMIT = 10_000_000


class Server(httpx.BaseTransport):
    """Serves one file with ranges; may break off, change the file or be gone."""

    def __init__(self, content: bytes = CONTENT, *, etag: str | None = '"one"') -> None:
        self.content, self.etag = content, etag
        self.break_after: list[int] = []
        self.down = False
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.down:
            raise httpx.ConnectError("no route to host")
        headers = {"content-length": str(len(self.content))}
        if self.etag:
            headers["etag"] = self.etag
        if request.method == "HEAD":
            return httpx.Response(200, headers=headers)
        start = self._start(request)
        if start is None:
            return httpx.Response(200, headers=headers, stream=self._body(0))
        if start >= len(self.content):
            total = {"content-range": f"bytes */{len(self.content)}"}
            return httpx.Response(416, headers=total)
        last = len(self.content) - 1
        headers["content-range"] = f"bytes {start}-{last}/{len(self.content)}"
        headers["content-length"] = str(len(self.content) - start)
        return httpx.Response(206, headers=headers, stream=self._body(start))

    def _start(self, request: httpx.Request) -> int | None:
        wanted = request.headers.get("range")
        if wanted is None or request.headers.get("if-range") != self.etag:
            return None
        return int(wanted.removeprefix("bytes=").removesuffix("-"))

    def _body(self, start: int) -> httpx.SyncByteStream:
        stop = self.break_after.pop(0) if self.break_after else None
        content = self.content

        class Body(httpx.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                for at in range(start, len(content), 65_536):
                    if stop is not None and at - start >= stop:
                        raise httpx.ReadError("connection reset")
                    yield content[at : at + 65_536]

        return Body()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)


def test_a_file_comes_whole_and_progress_is_told(tmp_path: Path) -> None:
    events: list[Event] = []
    path = fetch_url(URL, limit_bytes=LIMIT, emit=events.append, transport=Server())  # type: ignore[arg-type]
    assert path.read_bytes() == CONTENT
    assert path.name == "photos.tar"
    assert path.is_relative_to(cache_home())
    done = [event.done for event in events if isinstance(event, StageProgress)]
    assert done == sorted(done)
    assert done[-1] == len(CONTENT)


def test_a_broken_connection_goes_on_where_it_stopped() -> None:
    server = Server()
    server.break_after = [500_000, 500_000]
    assert fetch_url(URL, limit_bytes=LIMIT, transport=server).read_bytes() == CONTENT
    ranges = [request.headers.get("range") for request in server.requests]
    assert ranges[0] is None
    assert None not in ranges[1:]
    assert len(ranges) == 3


def test_another_process_goes_on_where_one_was_killed() -> None:
    server = Server()
    server.break_after = [1_000_000] * downloads.ATTEMPTS
    server.content = CONTENT * 4
    with pytest.raises(NetworkError, match="Try again to go on where it stopped, or put the file"):
        fetch_url(URL, limit_bytes=LIMIT, transport=server)
    server.requests.clear()
    assert fetch_url(URL, limit_bytes=LIMIT, transport=server).read_bytes() == CONTENT * 4
    assert server.requests[0].headers["range"] != "bytes=0-"


def test_a_process_killed_before_the_renaming_fetches_nothing_again() -> None:
    server = Server()
    path = fetch_url(URL, limit_bytes=LIMIT, transport=server)
    path.rename(path.with_name(path.name + ".part"))
    assert fetch_url(URL, limit_bytes=LIMIT, transport=server).read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_is_fetched_anew() -> None:
    server = Server()
    server.break_after = [500_000] * downloads.ATTEMPTS
    server.content = CONTENT * 4
    with pytest.raises(NetworkError):
        fetch_url(URL, limit_bytes=LIMIT, transport=server)
    server.content, server.etag = CONTENT[::-1], '"two"'
    assert fetch_url(URL, limit_bytes=LIMIT, transport=server).read_bytes() == CONTENT[::-1]


def test_a_finished_file_is_used_again_also_without_network() -> None:
    server = Server()
    path = fetch_url(URL, limit_bytes=LIMIT, transport=server)
    server.requests.clear()
    assert fetch_url(URL, limit_bytes=LIMIT, transport=server) == path
    assert [request.method for request in server.requests] == ["HEAD"]
    server.down = True
    assert fetch_url(URL, limit_bytes=LIMIT, transport=server) == path
    server.down, server.content, server.etag = False, b"new", '"two"'
    assert fetch_url(URL, limit_bytes=LIMIT, transport=server).read_bytes() == b"new"


def test_a_server_without_marks_starts_anew() -> None:
    server = Server(etag=None)
    server.break_after = [500_000]
    assert fetch_url(URL, limit_bytes=LIMIT, transport=server).read_bytes() == CONTENT


def test_no_network_is_said_in_a_sentence_without_secrets() -> None:
    server = Server()
    server.down = True
    with pytest.raises(NetworkError, match="cannot be fetched: no route to host") as raised:
        fetch_url("https://me:word@example.org/a.zip?token=secret", limit_bytes=1, transport=server)
    assert "word" not in str(raised.value)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("with_length", [True, False])
def test_a_file_over_the_limit_is_refused(with_length: bool) -> None:
    class Long(httpx.BaseTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            headers = {"content-length": str(len(CONTENT))} if with_length else {}
            return httpx.Response(200, headers=headers, stream=httpx.ByteStream(CONTENT))

    with pytest.raises(DataError, match=r"more than 0\.001 GB; raise data\.max_download_gb"):
        fetch_url(URL, limit_bytes=1_000_000, transport=Long())
    assert not list(cache_home().rglob("*.part"))


def answering(answer: Callable[[httpx.Request], httpx.Response]) -> httpx.MockTransport:
    return httpx.MockTransport(answer)


def test_what_the_server_refuses_is_said_at_once() -> None:
    asked = []

    def missing(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(404)

    with pytest.raises(NetworkError, match="the server answers 404 Not Found"):
        fetch_url(URL, limit_bytes=LIMIT, transport=answering(missing))
    assert len(asked) == 1


def test_a_busy_server_is_asked_again() -> None:
    late = httpx.Response(200, stream=httpx.ByteStream(b"late"))
    answers = [httpx.Response(503), httpx.Response(429), late]
    path = fetch_url(URL, limit_bytes=LIMIT, transport=answering(lambda _: answers.pop(0)))
    assert path.read_bytes() == b"late"


def test_nothing_is_fetched_without_encryption() -> None:
    def redirect(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": "http://example.org/plain.tar"})

    with pytest.raises(NetworkError, match=r"http://example\.org/plain\.tar is not encrypted"):
        fetch_url(URL, limit_bytes=LIMIT, transport=answering(redirect))
    with pytest.raises(NetworkError, match="is not encrypted; give an https"):
        fetch_url("http://example.org/a.tar", limit_bytes=LIMIT, transport=Server())


def test_what_is_expected_is_checked(tmp_path: Path) -> None:
    right, plain = (
        Expected(len(CONTENT), hashlib.sha256(CONTENT).hexdigest()),
        "http://example.org/a",
    )
    download(plain, tmp_path / "a", limit_bytes=LIMIT, expected=right, transport=Server())
    for wrong in (Expected(7, right.sha256), Expected(right.size_bytes, "0")):
        with pytest.raises(NetworkError, match=r"should have .*; delete it and try again"):
            download(plain, tmp_path / "b", limit_bytes=LIMIT, expected=wrong, transport=Server())


# -- buckets -----------------------------------------------------------------------------------


class Counting(fs.FileSystemHandler):  # type: ignore[misc]
    """A local folder as a bucket that counts what is opened and may be gone."""

    def __init__(self, root: Path) -> None:
        self.local = fs.LocalFileSystem()
        self.root, self.opened, self.fails_after = root, 0, 10**9

    def get_type_name(self) -> str:
        return "counting"

    def get_file_info(self, paths: list[str]) -> list[fs.FileInfo]:
        return [self._info(path) for path in paths]

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        found = sorted((self.root / selector.base_dir).rglob("*"))
        return [self._info(path.relative_to(self.root).as_posix()) for path in found]

    def _info(self, path: str) -> fs.FileInfo:
        (info,) = self.local.get_file_info([str(self.root / path)])
        return fs.FileInfo(path, info.type, mtime=info.mtime, size=info.size)

    def open_input_stream(self, path: str) -> object:
        self.opened += 1
        if self.opened > self.fails_after:
            raise OSError("connection reset by peer")
        return self.local.open_input_stream(str(self.root / path))

    def normalize_path(self, path: str) -> str:
        return path

    def __getattr__(self, name: str) -> object:
        raise NotImplementedError(name)

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = None
    delete_file = move = copy_file = open_input_file = None
    open_output_stream = open_append_stream = None


@pytest.fixture
def bucket(tmp_path: Path) -> tuple[Counting, fs.FileSystem]:
    root = tmp_path / "server"
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/3.PNG", "dog/notes.txt", ".x/4.jpg"):
        path = root / "bucket/photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    handler = Counting(root)
    return handler, fs.PyFileSystem(handler)


def names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_bucket_is_mirrored_once(bucket: tuple[Counting, fs.FileSystem]) -> None:
    handler, system = bucket
    uri = "s3://bucket/photos/"
    folder = fetch_bucket(uri, limit_bytes=LIMIT, filesystem=system)
    assert names(folder) == ["cat/1.jpg", "cat/2.jpg", "dog/3.PNG"]
    assert (folder / "cat/1.jpg").read_bytes() == b"cat/1.jpg"
    assert handler.opened == 3
    assert fetch_bucket(uri, limit_bytes=LIMIT, filesystem=system) == folder
    assert handler.opened == 3


def test_what_changed_in_the_bucket_changes_in_the_mirror(
    bucket: tuple[Counting, fs.FileSystem],
) -> None:
    handler, system = bucket
    folder = fetch_bucket("s3://bucket/photos", limit_bytes=LIMIT, filesystem=system)
    there = handler.root / "bucket/photos"
    (there / "cat/1.jpg").unlink()
    (there / "cat/2.jpg").write_bytes(b"CAT/2.JPG")
    os.utime(there / "cat/2.jpg", (1, 1))
    fetch_bucket("s3://bucket/photos", limit_bytes=LIMIT, filesystem=system)
    assert names(folder) == ["cat/2.jpg", "dog/3.PNG"]
    assert (folder / "cat/2.jpg").read_bytes() == b"CAT/2.JPG"
    assert handler.opened == 4


def test_a_broken_mirror_goes_on_where_it_stopped(bucket: tuple[Counting, fs.FileSystem]) -> None:
    handler, system = bucket
    handler.fails_after = 2
    with pytest.raises(NetworkError, match=r"connection reset by peer\. Try again to go on"):
        fetch_bucket("gs://bucket/photos", limit_bytes=LIMIT, filesystem=system)
    handler.opened, handler.fails_after = 0, 10**9
    folder = fetch_bucket("gs://bucket/photos", limit_bytes=LIMIT, filesystem=system)
    assert len(names(folder)) == 3
    assert handler.opened == 1


def test_one_object_may_be_an_archive(bucket: tuple[Counting, fs.FileSystem]) -> None:
    handler, system = bucket
    with tarfile.open(handler.root / "bucket/all.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo("cat/1.jpg"), io.BytesIO())
    path = fetch_bucket("s3://bucket/all.tar", limit_bytes=LIMIT, filesystem=system)
    assert path.name == "all.tar"
    assert tarfile.is_tarfile(path)


def test_buckets_that_cannot_be_used(bucket: tuple[Counting, fs.FileSystem]) -> None:
    handler, system = bucket
    (handler.root / "bucket/empty").mkdir()
    for name in ("empty", "nowhere"):
        with pytest.raises(DataError, match=r"holds no photos, label table or archive"):
            fetch_bucket(f"s3://bucket/{name}", limit_bytes=LIMIT, filesystem=system)
    with pytest.raises(DataError, match=r"more than 1e-08; raise data\.max_download_gb"):
        fetch_bucket("s3://bucket/photos", limit_bytes=10, filesystem=system)


def test_public_buckets_are_read_without_credentials(
    bucket: tuple[Counting, fs.FileSystem], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, system = bucket
    asked = []

    def s3(**options: object) -> fs.FileSystem:
        asked.append(options)
        return system

    monkeypatch.setattr("pyarrow.fs.S3FileSystem", s3)
    folder = fetch_bucket("s3://anonymous@bucket/photos?region=eu-west-1", limit_bytes=LIMIT)
    assert len(names(folder)) == 3
    assert asked == [{"anonymous": True, "region": "eu-west-1"}]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://127.0.0.1:9/x.zip", "https://127.0.0.1:9/x.zip"),
        ("https://me:secret@example.org/x.zip?token=1#part", "https://example.org/x.zip"),
        ("https://me@[::1]:8443/x.zip", "https://[::1]:8443/x.zip"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown
