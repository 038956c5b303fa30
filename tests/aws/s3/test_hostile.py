"""Requests that no client sends: always an answer, never a 500, never a hang, nothing lost."""

from __future__ import annotations

import http.client
import logging
import os
import socket
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from s3_server import S3Server, running

from houndsight.aws.s3.routes import BUCKET_SUBRESOURCES, OBJECT_SUBRESOURCES

BODY = b"untouched"


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Without the check of signatures, so that everything reaches the operations."""
    with running(tmp_path_factory.mktemp("open"), insecure=True) as server:
        server.store.create_bucket("bucket")
        server.store.create_bucket("witness")
        server.store.put("witness", "k", BODY)
        yield server


def ask(
    server: S3Server, method: str, target: str, body: bytes, headers: dict[str, bytes]
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        connection.putrequest(method, target, skip_accept_encoding=True)
        for name, value in {"content-length": b"%d" % len(body), **headers}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


VALUES = st.binary(max_size=30).map(lambda raw: bytes(b for b in raw if b > 31 and b != 127))
HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since",
            "content-md5", "content-type", "content-encoding", "cache-control", "expires",
            "x-amz-meta-a", "x-amz-tagging", "x-amz-copy-source", "x-amz-copy-source-range",
            "x-amz-checksum-crc32", "x-amz-checksum-sha256", "x-amz-checksum-algorithm",
            "x-amz-checksum-type", "x-amz-sdk-checksum-algorithm", "x-amz-trailer",
            "x-amz-content-sha256", "x-amz-decoded-content-length", "x-amz-metadata-directive",
            "x-amz-object-attributes", "x-amz-storage-class", "x-amz-expected-bucket-owner",
            "x-amz-mp-object-size", "authorization", "x-amz-date",
        ]
    ),
    VALUES
    | st.sampled_from(
        [
            b"bytes=0-5", b"*", b'"abc"', b"Mon, 23 Nov 2026 06:00:00 GMT", b"/bucket/k",
            b"witness/k", b"CRC32C", b"CRC64NVME", b"FULL_OBJECT", b"REPLACE", b"0", b"-1",
            b"9" * 30, b"STREAMING-UNSIGNED-PAYLOAD-TRAILER",
            b"STREAMING-AWS4-HMAC-SHA256-PAYLOAD", b"x-amz-checksum-crc32", b"ETag,Checksum",
        ]
    ),
    max_size=4,
)  # fmt: skip
PARAMETERS = st.dictionaries(
    st.sampled_from(
        [
            "uploads", "uploadId", "partNumber", "list-type", "prefix", "delimiter", "marker",
            "max-keys", "continuation-token", "start-after", "encoding-type", "versionId",
            "versions", "delete", "max-buckets", "max-uploads", "key-marker", "max-parts",
            "upload-id-marker", "part-number-marker", "response-content-type",
            "response-content-disposition", "response-expires", *BUCKET_SUBRESOURCES,
            *OBJECT_SUBRESOURCES,
        ]
    ),
    st.sampled_from(["", "0", "1", "2", "-1", "10001", "9" * 12, "url", "/", "null", "MWE="])
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    max_size=3,
)  # fmt: skip
KEYS = st.just("k") | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
BODIES = st.binary(max_size=60) | st.sampled_from(
    [
        b"<Delete><Object><Key>k</Key></Object></Delete>",
        b"<Delete><Object/></Delete>",
        b"<CompleteMultipartUpload><Part><PartNumber>x</PartNumber></Part></CompleteMultipartUpload>",
        b"<Tagging><TagSet><Tag><Key></Key></Tag></TagSet></Tagging>",
        b"<CreateBucketConfiguration/>",
        b"5\r\nhello\r\n0\r\n\r\n",
    ]
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"]),
    bucket=st.sampled_from(["bucket", "bucket", "none", ""]),
    key=KEYS,
    parameters=PARAMETERS,
    headers=HEADERS,
    body=BODIES,
)
def test_any_request_is_answered(
    open_server: S3Server,
    method: str,
    bucket: str,
    key: str,
    parameters: dict[str, str],
    headers: dict[str, bytes],
    body: bytes,
) -> None:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
    target = f"/{bucket}/{quote(key)}?{query}" if bucket else f"/?{query}"
    status, answer = ask(open_server, method, target, body, headers)
    assert status != 500, answer
    if status >= 400 and method != "HEAD":
        assert answer.startswith(b"<?xml"), answer
        assert b"<Code>" in answer
    if bucket == "bucket" and not key:  # it may have been deleted
        ask(open_server, "PUT", "/bucket", b"", {})
    with open_server.store.open("witness", "k") as file:
        assert file.read() == BODY


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300)
    | st.binary(max_size=100).map(lambda b: b"PUT /bucket/k HTTP/1.1\r\n" + b)
)
def test_any_bytes_end_in_an_answer_or_a_close(open_server: S3Server, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", open_server.port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert b" 500 " not in answer[:20]


@pytest.mark.parametrize(
    "target",
    ["/witness/%ff", "/witness/%", "/%00", "/witness/%00", "/witness/" + "%C3%A4" * 600, "//"],
)
def test_odd_targets(open_server: S3Server, target: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        assert ask(open_server, method, target, b"", {})[0] != 500


def test_a_client_that_leaves_in_the_middle(open_server: S3Server) -> None:
    """Its object never appears, and nothing of it stays."""
    blobs = open_server.store.folder / "blobs"
    before = {path for path in blobs.rglob("*") if path.is_file()}
    head = b"PUT /witness/torn HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9000000\r\n\r\n"
    with socket.create_connection(("127.0.0.1", open_server.port), timeout=20) as connection:
        connection.sendall(head + b"x" * 3_000_000)
    while {path for path in blobs.rglob("*") if path.is_file()} != before:
        pass
    assert ask(open_server, "GET", "/witness/torn", b"", {})[0] == 404


def test_a_reader_that_leaves_in_the_middle(open_server: S3Server) -> None:
    open_server.store.put("witness", "big", os.urandom(20_000_000))
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", open_server.port), timeout=20) as connection:
            connection.sendall(b"GET /witness/big HTTP/1.1\r\nhost: localhost\r\n\r\n")
            connection.recv(1000)
    status, body = ask(open_server, "GET", "/witness/big", b"", {})
    assert (status, len(body)) == (200, 20_000_000)


def test_a_silent_client_is_given_up(
    open_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("houndsight.aws.s3.app.SILENCE_S", 0.2)
    head = b"PUT /witness/slow HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nabc"
    with socket.create_connection(("127.0.0.1", open_server.port), timeout=20) as connection:
        connection.sendall(head)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"<Code>RequestTimeout</Code>" in answer


def test_no_length(open_server: S3Server) -> None:
    head = b"PUT /witness/k HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", open_server.port), timeout=20) as connection:
        connection.sendall(head + b"3\r\nabc\r\n0\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 411")


def test_expect_continue(open_server: S3Server) -> None:
    """Asked for a body only where it is wanted."""
    lines = ("host: localhost", "content-length: 3", "expect: 100-continue", "", "")
    head = "PUT /{}/expected HTTP/1.1\r\n" + "\r\n".join(lines)
    with socket.create_connection(("127.0.0.1", open_server.port), timeout=20) as connection:
        connection.sendall(head.format("witness").encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100")
        connection.sendall(b"abc")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_full_disk(open_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    status, answer = ask(open_server, "PUT", "/witness/full", b"abc", {})
    assert status == 507
    assert b"<Code>InsufficientStorage</Code>" in answer


def test_the_unforeseen_has_a_cause(
    open_server: S3Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("a bug of ours")

    monkeypatch.setattr(open_server.store, "head_bucket", fails)
    with caplog.at_level(logging.ERROR, "houndsight.aws.s3"):
        status, answer = ask(open_server, "GET", "/witness?location", b"", {})
    assert status == 500
    assert b"GetBucketLocation of s3: RuntimeError: a bug of ours" in answer
    assert "a bug of ours" in caplog.text
