"""Signatures as botocore makes them, and everything that must not pass for one."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import (
    HmacV1QueryAuth,
    S3SigV4Auth,
    S3SigV4QueryAuth,
    SigV4Auth,
    SigV4QueryAuth,
)
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from houndsight.aws.keys import KeyRing
from houndsight.aws.service import AwsError
from houndsight.aws.signature import Verifier, check_payload

PATHS = [
    "/",
    "/bucket/key",
    "/bucket/a%20b/c%2Bd",
    "/bucket/%C3%A4%E2%82%AC",
    "/bucket/a~b-c_d.e",
    "/bucket//double/./dot",
    "/endpoints/a-name/invocations",
]
QUERIES = ["", "list-type=2&prefix=a%2Fb", "uploads", "b=2&a=1&a=0", "x=%20&y=a%2Bb", "key=%C3%A4"]


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys.json")


@pytest.fixture
def verifier(keys: KeyRing) -> Verifier:
    return Verifier(keys)


def signed(
    keys: KeyRing,
    *,
    method: str = "POST",
    path: str = "/",
    query: str = "",
    body: bytes = b"{}",
    service: str = "sagemaker",
    headers: dict[str, str] | None = None,
    presign_s: int = 0,
    secret: str | None = None,
) -> dict[str, Any]:
    """A request of botocore's, as `verify` takes it."""
    body = b"" if presign_s else body  # botocore's presigner makes a body a part of the URL
    key = keys.first()
    credentials = Credentials(key.access_key, secret or key.secret)
    url = f"http://127.0.0.1:8765{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, headers or {}, body)
    kinds: dict[tuple[bool, bool], Any] = {
        (False, False): SigV4Auth,
        (False, True): S3SigV4Auth,
        (True, False): SigV4QueryAuth,
        (True, True): S3SigV4QueryAuth,
    }
    kind = kinds[presign_s > 0, service == "s3"]
    extra = {"expires": presign_s} if presign_s else {}
    kind(credentials, service, "us-east-1", **extra).add_auth(request)
    parts = urlsplit(request.url)
    sent = {name.lower(): str(value) for name, value in request.headers.items()}
    return {
        "method": method,
        "raw_path": parts.path,
        "raw_query": parts.query,
        "headers": {"host": "127.0.0.1:8765", **sent},
        "payload_hash": hashlib.sha256(body).hexdigest(),
    }


@pytest.mark.parametrize(
    ("service", "path"),
    # What is no S3 key is signed without its dots.
    [(s, p) for s in ("s3", "sagemaker") for p in PATHS if s == "s3" or "/./" not in p],
)
@pytest.mark.parametrize("presign_s", [0, 60])
@pytest.mark.parametrize("query", QUERIES)
def test_what_botocore_signs_is_let_in(
    keys: KeyRing, verifier: Verifier, service: str, presign_s: int, path: str, query: str
) -> None:
    request = signed(keys, path=path, query=query, service=service, presign_s=presign_s)
    identity = verifier.verify(**request)
    assert identity.access_key == keys.first().access_key
    assert (identity.service, identity.region) == (service, "us-east-1")
    assert identity.presigned == bool(presign_s)
    assert len(identity.signing_key) == 32
    assert identity.scope.endswith(f"/us-east-1/{service}/aws4_request")


def test_headers_with_spaces_and_other_letters_are_let_in(
    keys: KeyRing, verifier: Verifier
) -> None:
    headers = {"X-Amz-Meta-Note": "  two   words ", "Content-Type": "text/plain; charset=utf-8"}
    verifier.verify(**signed(keys, service="s3", headers=headers))


@pytest.mark.parametrize("presign_s", [0, 60])
@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"raw_path": "/other"},
        {"raw_query": "added=1"},
        {"host": "127.0.0.1:9"},
        {"x-amz-date": "20200101T000000Z"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_request_is_refused(
    keys: KeyRing, verifier: Verifier, change: dict[str, str], presign_s: int
) -> None:
    request = signed(keys, service="s3", path="/bucket/key", presign_s=presign_s)
    for name, value in change.items():
        if name == "raw_query":
            request[name] = f"{request[name]}&{value}" if request[name] else value
        elif name in request:
            request[name] = value
        else:
            request["headers"][name] = value
    with pytest.raises(AwsError):
        verifier.verify(**request)


def test_another_body_is_refused(keys: KeyRing, verifier: Verifier) -> None:
    request = signed(keys, body=b"{}")
    request["payload_hash"] = hashlib.sha256(b"{1}").hexdigest()
    with pytest.raises(AwsError, match="does not match") as caught:
        verifier.verify(**request)
    assert caught.value.code == "SignatureDoesNotMatch"
    told = signed(keys, body=b"{}", service="s3")
    identity = verifier.verify(**told)
    check_payload(identity, hashlib.sha256(b"{}").hexdigest())
    with pytest.raises(AwsError) as caught:
        check_payload(identity, hashlib.sha256(b"{1}").hexdigest())
    assert caught.value.code == "XAmzContentSHA256Mismatch"


def test_a_wrong_secret_and_an_unknown_key_are_told_apart(
    keys: KeyRing, verifier: Verifier, tmp_path: Path
) -> None:
    with pytest.raises(AwsError) as caught:
        verifier.verify(**signed(keys, secret="x" * 40))
    assert caught.value.code == "SignatureDoesNotMatch"
    with pytest.raises(AwsError, match="houndsight keys list") as caught:
        verifier.verify(**signed(KeyRing(tmp_path / "others.json")))
    assert caught.value.code == "InvalidAccessKeyId"


@pytest.mark.parametrize("apart_s", [-930, -870, 870, 930])
def test_clocks_may_be_a_quarter_of_an_hour_apart(keys: KeyRing, apart_s: int) -> None:
    request = signed(keys)
    verifier, let_in = Verifier(keys, now=lambda: time.time() + apart_s), abs(apart_s) < 900
    if let_in:
        verifier.verify(**request)
        return
    with pytest.raises(AwsError) as caught:
        verifier.verify(**request)
    assert caught.value.code == "RequestTimeTooSkewed"


def test_a_presigned_url_ends_when_it_says(keys: KeyRing) -> None:
    request = signed(keys, method="GET", service="s3", path="/b/k", presign_s=60)
    Verifier(keys, now=lambda: time.time() + 55).verify(**request)
    with pytest.raises(AwsError, match="Request has expired"):
        Verifier(keys, now=lambda: time.time() + 65).verify(**request)
    with pytest.raises(AwsError, match="X-Amz-Expires must lie"):
        Verifier(keys).verify(**signed(keys, service="s3", presign_s=604_801))
    # Python reads no number of so many digits.
    longest = "000000001".ljust(5_000, "0")
    endless = {**request, "raw_query": f"{request['raw_query']}&X-Amz-Expires={longest}"}
    with pytest.raises(AwsError, match="X-Amz-Expires must lie"):
        Verifier(keys).verify(**endless)


def test_what_changes_the_meaning_has_to_be_signed(keys: KeyRing, verifier: Verifier) -> None:
    request = signed(keys, method="PUT", service="s3", path="/b/k")
    request["headers"]["x-amz-acl"] = "public-read"
    with pytest.raises(AwsError, match="not signed: x-amz-acl"):
        verifier.verify(**request)


def test_nobody_is_let_in_unless_insecure(keys: KeyRing) -> None:
    with pytest.raises(AwsError, match="houndsight env") as caught:
        Verifier(keys).verify("GET", "/", "", {"host": "localhost"})
    assert caught.value.status == 403
    open_to_all = Verifier(keys, insecure=True)
    assert open_to_all.verify("GET", "/", "", {"host": "localhost"}).access_key == ""
    forged = signed(keys, secret="y" * 40)
    assert open_to_all.verify(**forged).access_key == keys.first().access_key
    assert open_to_all.verify("GET", "/", "", {"authorization": "Basic eA=="}).access_key == ""


def test_a_web_page_is_not_let_in_where_nothing_is_checked(keys: KeyRing) -> None:
    headers = {"host": "127.0.0.1", "origin": "https://elsewhere.example"}
    with pytest.raises(AwsError, match=r"from a web page .* without --insecure"):
        Verifier(keys, insecure=True).verify("POST", "/bucket", "delete", headers)
    Verifier(keys).verify(**signed(keys, headers=headers))  # who has a key may be a page's script


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic abc",
        "AWS AKIA:signature",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=0",
        "AWS4-HMAC-SHA256 Credential=a/20261123/r/s/aws4_request, SignedHeaders=host",
        "AWS4-ECDSA-P256-SHA256 Credential=a/20261123/s/aws4_request",
    ],
)
def test_a_header_that_is_no_signature_is_said(verifier: Verifier, authorization: str) -> None:
    with pytest.raises(AwsError):
        verifier.verify("GET", "/", "", {"authorization": authorization, "host": "x"})


TEXT = st.text(st.characters(codec="latin-1"), max_size=60)
PIECES = st.sampled_from(
    ["AWS4-HMAC-SHA256 ", "Credential=", "a/20261123/r/s/aws4_request", "SignedHeaders=", "host",
     "Signature=", ",", ";", "=", "/", "%", "%zz", "\xff"]
)  # fmt: skip
SCRAPS = st.lists(PIECES | TEXT, max_size=12).map("".join)
NAMES = ["Algorithm", "Credential", "SignedHeaders", "Signature", "Date", "Expires"]
FIELDS = st.dictionaries(st.sampled_from([f"X-Amz-{n}" for n in NAMES]), SCRAPS)


@given(authorization=SCRAPS, date=SCRAPS, told=st.none() | SCRAPS)
def test_no_header_breaks_the_verifier(authorization: str, date: str, told: str | None) -> None:
    headers = {"host": "x", "authorization": authorization, "x-amz-date": date, "date": date}
    if told is not None:
        headers["x-amz-content-sha256"] = told
    with pytest.raises(AwsError):
        Verifier(KeyRing(Path("nowhere"))).verify("GET", "/", "", headers)


@given(fields=FIELDS, more=TEXT, path=TEXT)
def test_no_url_breaks_the_verifier(fields: dict[str, str], more: str, path: str) -> None:
    query = "&".join(f"{name}={value}" for name, value in fields.items()) + f"&{more}"
    with pytest.raises(AwsError):
        Verifier(KeyRing(Path("nowhere"))).verify("GET", path, query, {"host": "x"})


def presigned_v2(
    keys: KeyRing, method: str, path: str, headers: dict[str, str] | None = None, query: str = ""
) -> dict[str, Any]:
    """A presigned URL of version 2, as its holder uses it: with no header but `Host`."""
    key = keys.first()
    url = f"http://127.0.0.1:8765{path}" + (f"?{query}" if query else "")
    request = AWSRequest(method, url, headers or {})
    HmacV1QueryAuth(Credentials(key.access_key, key.secret), expires=60).add_auth(request)
    parts = urlsplit(request.url)
    return {
        "method": method,
        "raw_path": parts.path,
        "raw_query": parts.query,
        "headers": {"host": "127.0.0.1:8765"},
        "allow_v2": True,
    }


@pytest.mark.parametrize("query", ["", "uploads", "uploadId=a%2Fb&partNumber=2", "tagging"])
def test_a_presigned_url_of_version_2_is_let_in(
    keys: KeyRing, verifier: Verifier, query: str
) -> None:
    headers = {"x-amz-meta-b": "two  words", "x-amz-acl": "private", "Content-Type": "image/png"}
    request = presigned_v2(keys, "PUT", "/bucket/a%20key", headers, query)
    assert verifier.verify(**request).access_key == keys.first().access_key


def test_a_presigned_url_of_version_2_can_do_nothing_else(
    keys: KeyRing, verifier: Verifier
) -> None:
    request = presigned_v2(keys, "PUT", "/bucket/key")
    changes: list[dict[str, Any]] = [
        {"method": "DELETE"},
        {"raw_path": "/bucket/other"},
        {"headers": {**request["headers"], "x-amz-copy-source": "/secret/key"}},
        {"headers": {**request["headers"], "x-amz-target": "SageMaker.CreateTrainingJob"}},
        {"headers": {"host": "secret.s3.localhost:8765"}},
        {"raw_query": f"{request['raw_query']}&tagging"},
        {"raw_query": f"{request['raw_query']}&%74agging"},
        {"raw_query": f"{request['raw_query']}&x-amz-copy-source=%2Fsecret%2Fkey"},
        {"raw_query": f"{request['raw_query']}&Expires=99999999999"},
    ]
    for change in changes:
        with pytest.raises(AwsError) as caught:
            verifier.verify(**{**request, **change})
        assert caught.value.code == "SignatureDoesNotMatch", change


def test_version_2_is_for_the_store_alone(keys: KeyRing, verifier: Verifier) -> None:
    request = presigned_v2(keys, "POST", "/")
    with pytest.raises(AwsError, match="not version 2"):
        verifier.verify(**{**request, "allow_v2": False})
