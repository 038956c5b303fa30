"""The parts of S3 that need no server: checksums, chunks, ranges, XML, names in requests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from houndsight.aws.s3.checksums import combine, composite, make_checksum
from houndsight.aws.s3.chunked import ChunkDecoder, ChunkSigner
from houndsight.aws.s3.headers import _ascii, _unicode
from houndsight.aws.s3.ranges import read_range
from houndsight.aws.s3.requests import read_query, split_path
from houndsight.aws.s3.xml import document, element, parse
from houndsight.aws.service import AwsError
from houndsight.aws.signature import EMPTY_SHA256, Identity

CRCS = ("crc32", "crc32c", "crc64nvme")


# -- checksums --------------------------------------------------------------------------------


def checksum_of(algorithm: str, data: bytes) -> str:
    checksum = make_checksum(algorithm)
    checksum.update(data)
    return base64.b64encode(checksum.digest()).decode()


def bitwise(algorithm: str, data: bytes) -> int:
    """The definition, bit by bit."""
    poly, width = {
        "crc32": (0xEDB88320, 32),
        "crc32c": (0x82F63B78, 32),
        "crc64nvme": (0x9A6C9329AC4BC9B5, 64),
    }[algorithm]
    state = (1 << width) - 1
    for byte in data:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ poly if state & 1 else state >> 1
    return state ^ ((1 << width) - 1)


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [("crc32", "cbf43926"), ("crc32c", "e3069283"), ("crc64nvme", "ae8b14860a799888")],
)
def test_the_published_check_values(algorithm: str, digest: str) -> None:
    checksum = make_checksum(algorithm)
    checksum.update(b"123456789")
    assert checksum.digest().hex() == digest


@settings(max_examples=25)
@given(
    data=st.binary(max_size=64).map(lambda seed: (seed or b"x") * (len(seed) * 20 + 1)),
    cuts=st.lists(st.integers(0, 90_000), max_size=4),
)
@pytest.mark.parametrize("algorithm", CRCS)
def test_checksums_of_pieces(algorithm: str, data: bytes, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(bounds)]
    whole = make_checksum(algorithm)
    for piece in pieces:
        whole.update(piece)
    width = len(whole.digest())
    assert whole.digest() == bitwise(algorithm, data).to_bytes(width, "big")
    joined = combine(algorithm, [(checksum_of(algorithm, p), len(p)) for p in pieces])
    assert joined == base64.b64encode(whole.digest()).decode()


def test_the_lanes_agree_with_zlib() -> None:
    from houndsight.aws.s3.checksums import _Crc

    data = bytes(range(256)) * 4099 + b"tail"
    ours = _Crc("crc32")
    ours.update(data)
    assert int.from_bytes(ours.digest(), "big") == zlib.crc32(data)


def test_composite() -> None:
    parts = [checksum_of("sha256", b"a"), checksum_of("sha256", b"b")]
    raw = hashlib.sha256(hashlib.sha256(b"a").digest() + hashlib.sha256(b"b").digest()).digest()
    assert composite("sha256", parts) == f"{base64.b64encode(raw).decode()}-2"


# -- chunks -----------------------------------------------------------------------------------

IDENTITY = Identity(
    signing_key=b"k" * 32,
    signature="s" * 64,
    date="20300101T000000Z",
    scope="20300101/us-east-1/s3/aws4_request",
)


def signed_body(chunks: list[bytes], trailer: str = "") -> bytes:
    previous, body = IDENTITY.signature, b""

    def sign(what: str, hashes: str) -> str:
        text = f"AWS4-HMAC-SHA256-{what}\n{IDENTITY.date}\n{IDENTITY.scope}\n{previous}\n{hashes}"
        return hmac.new(IDENTITY.signing_key, text.encode(), "sha256").hexdigest()

    for chunk in [*chunks, b""]:
        previous = sign("PAYLOAD", f"{EMPTY_SHA256}\n{hashlib.sha256(chunk).hexdigest()}")
        body += b"%x;chunk-signature=%s\r\n" % (len(chunk), previous.encode())
        body += chunk + b"\r\n" if chunk else b""
    if trailer:
        signature = sign("TRAILER", hashlib.sha256(f"{trailer}\n".encode()).hexdigest())
        body += f"{trailer}\r\nx-amz-trailer-signature:{signature}\r\n".encode()
    return body + b"\r\n"


def decoded(body: bytes, step: int, *, signed: bool = True) -> tuple[bytes, dict[str, str]]:
    got: list[bytes] = []
    decoder = ChunkDecoder(got.append, ChunkSigner(IDENTITY) if signed else None)
    for at in range(0, len(body), step):
        decoder.feed(body[at : at + step])
    decoder.finish()
    return b"".join(got), decoder.trailers


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=300), max_size=4),
    step=st.integers(1, 400),
    trailer=st.sampled_from(["", "x-amz-checksum-crc32:AAAAAA=="]),
)
def test_signed_chunks(chunks: list[bytes], step: int, trailer: str) -> None:
    body, trailers = decoded(signed_body(chunks, trailer), step)
    assert body == b"".join(chunks)
    assert trailers == dict([trailer.split(":")] if trailer else [])


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=3),
    at=st.integers(0, 10_000),
    value=st.integers(0, 255),
)
def test_a_changed_byte_is_refused(chunks: list[bytes], at: int, value: int) -> None:
    """Of content or signature; what only frames them may come out the same."""
    body = bytearray(signed_body(chunks))
    body[at % len(body)] = value
    try:
        content, _ = decoded(bytes(body), 100)
    except AwsError as error:
        assert error.code in ("SignatureDoesNotMatch", "IncompleteBody", "InvalidChunkSizeError")
    else:
        assert content == b"".join(chunks)


@given(body=st.binary(max_size=200), step=st.integers(1, 50))
def test_any_bytes_as_chunks(body: bytes, step: int) -> None:
    try:
        decoded(body, step, signed=False)
    except AwsError as error:
        assert error.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"5\r\nabc",
        b"3\r\nabcX\r\n0\r\n\r\n",
        b"-1\r\n",
        b"zz\r\n",
        b"ffffffffff\r\n",
        b"0\r\n",
        b"a" * 9000,
    ],
)
def test_broken_chunks(body: bytes) -> None:
    with pytest.raises(AwsError):
        decoded(body, 1000, signed=False)


# -- ranges -----------------------------------------------------------------------------------


@given(size=st.integers(0, 20), first=st.integers(0, 25), last=st.integers(0, 25))
def test_ranges_against_slices(size: int, first: int, last: int) -> None:
    data = bytes(range(size))
    for text, wanted in (
        (f"bytes={first}-{last}", data[first : last + 1]),
        (f"bytes={first}-", data[first:]),
        (f"bytes=-{last}", data[max(size - last, 0) :]),
    ):
        try:
            found = read_range(text, size)
        except AwsError as error:
            assert (error.status, wanted) == (416, b"")
            continue
        if found is None:
            assert text == f"bytes={first}-{last}"
            assert last < first
        else:
            assert data[found[0] : found[0] + found[1]] == wanted


@given(st.text(max_size=30))
def test_any_range_header(text: str) -> None:
    try:
        found = read_range(text, 10)
    except AwsError as error:
        assert error.status == 416
    else:
        assert found is None or 0 <= found[0] < found[0] + found[1] <= 10


# -- XML and names ----------------------------------------------------------------------------


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff")))
def test_xml_keeps_text(text: str) -> None:
    root = parse(document(element("Root", element("Key", text))), "Root")
    assert root.get("Key") == text


@given(st.binary(max_size=200))
def test_any_bytes_as_xml(body: bytes) -> None:
    with pytest.raises(AwsError):
        parse(body, "Delete")


@pytest.mark.parametrize(
    "body",
    [
        b'<!DOCTYPE x [<!ENTITY a "aaaa">]><Delete>&a;</Delete>',
        b'<!DOCTYPE x SYSTEM "file:///etc/passwd"><Delete/>',
        b"<a>" * 17 + b"</a>" * 17,
        b"<Other/>",
        b'<?xml version="1.0" encoding="no-such"?><Delete/>',
    ],
)
def test_hostile_xml(body: bytes) -> None:
    with pytest.raises(AwsError) as caught:
        parse(body, "Delete")
    assert caught.value.code == "MalformedXML"


def test_where_the_bucket_stands() -> None:
    assert split_path("/bucket/a%20b/%C3%A4", "127.0.0.1:80") == ("bucket", "a b/ä")
    assert split_path("/bucket//a/../b", "localhost") == ("bucket", "/a/../b")
    assert split_path("/a/b", "bucket.s3.localhost:4566") == ("bucket", "a/b")
    assert split_path("/bucket/k", "s3.localhost") == ("bucket", "k")
    assert split_path("/", "localhost") == ("", "")
    with pytest.raises(AwsError, match="parse the specified URI"):
        split_path("/bucket/%ff", "localhost")
    assert read_query("a=1+2%2B&b&a=3&c=%C3%A4") == {"a": "1 2+", "b": "", "c": "ä"}


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=60))
def test_metadata_survives_the_header(text: str) -> None:
    shown = _ascii(text)
    assert shown.isascii()
    assert "\n" not in shown
    if not text.isascii():
        assert _unicode(shown) == text
