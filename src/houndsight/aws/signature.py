"""Signature version 4: who asks, and whether it is what they signed.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html. Signed
headers and presigned URLs are verified here; of a body in signed chunks (`STREAMING-…`) the seed,
whose chain the reader of the body goes on with.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote, unquote_to_bytes

from houndsight.aws.hosts import bucket_of_host
from houndsight.aws.keys import KeyRing
from houndsight.aws.presigned_v2 import is_presigned_v2, query_values, signature_v2
from houndsight.aws.service import AwsError

__all__ = ["ALGORITHM", "Claim", "Identity", "Verifier", "check_payload", "read_claim"]

ALGORITHM = "AWS4-HMAC-SHA256"
SKEW_S = 900
"""How far the clocks may be apart; AWS's own."""
LONGEST_S = 604_800
"""A presigned URL lives a week at most."""
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_HEX = re.compile(r"[0-9a-f]{64}")
_DATE = re.compile(r"[0-9]{8}T[0-9]{6}Z")


@dataclass(frozen=True)
class Identity:
    """Who asks, and what the reader of the body needs to check it."""

    access_key: str = ""
    """Empty: nobody signed, and the check is off."""
    region: str = "us-east-1"
    service: str = ""
    signing_key: bytes = b""
    signature: str = ""
    """The seed of a body in signed chunks."""
    date: str = ""
    """`YYYYMMDDTHHMMSSZ`."""
    scope: str = ""
    """`YYYYMMDD/region/service/aws4_request`."""
    presigned: bool = False
    payload_hash: str = UNSIGNED
    """SHA-256 in hex, `UNSIGNED-PAYLOAD` or `STREAMING-…`."""


@dataclass(frozen=True)
class Claim:
    """What a request says about itself, before anything is verified."""

    access_key: str
    day: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str
    date: str
    presigned: bool
    expires_s: int = 0

    @property
    def scope(self) -> str:
        """`YYYYMMDD/region/service/aws4_request`."""
        return f"{self.day}/{self.region}/{self.service}/aws4_request"


def read_claim(raw_query: str, headers: Mapping[str, str]) -> Claim | None:
    """What the signature says who asks for what; None for a request without one.

    Args:
        headers: by lower-case name, decoded as Latin-1.

    Raises:
        AwsError: there is a signature that cannot be read.
    """
    authorization = headers.get("authorization", "")
    if authorization:
        return _claim_of_header(authorization, headers)
    if "X-Amz-Signature=" in raw_query or "X-Amz-Credential=" in raw_query:
        return _claim_of_query(raw_query)
    if "Signature=" in raw_query and "AWSAccessKeyId=" in raw_query:
        raise AwsError("InvalidRequest", f"Only {ALGORITHM} is spoken here, not version 2.")
    return None


def _claim_of_header(authorization: str, headers: Mapping[str, str]) -> Claim:
    algorithm, _, rest = authorization.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise AwsError(
            "InvalidRequest",
            f"The authorization mechanism {algorithm[:40]!r} is not spoken here; sign with"
            f" {ALGORITHM}.",
        )
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    date = headers.get("x-amz-date") or _from_http_date(headers.get("date", ""))
    try:
        return _claim(
            parts["Credential"], parts["SignedHeaders"], parts["Signature"], date, presigned=False
        )
    except KeyError as error:
        raise _malformed(f"the Authorization header lacks {error.args[0]}") from error


def _claim_of_query(raw_query: str) -> Claim:
    values = dict(_query_pairs(raw_query))
    if values.get("X-Amz-Algorithm") != ALGORITHM:
        raise _malformed(f"X-Amz-Algorithm must be {ALGORITHM}")
    try:
        expires = values.get("X-Amz-Expires", "900")
        is_number = expires.isascii() and expires.isdigit() and len(expires) < 10
        if not is_number or not 0 < int(expires) <= LONGEST_S:
            raise _malformed(f"X-Amz-Expires must lie between 1 and {LONGEST_S} seconds")
        return _claim(
            values["X-Amz-Credential"],
            values["X-Amz-SignedHeaders"],
            values["X-Amz-Signature"],
            values["X-Amz-Date"],
            presigned=True,
            expires_s=int(expires),
        )
    except KeyError as error:
        raise _malformed(f"the URL lacks {error.args[0]}") from error


def _claim(
    credential: str,
    signed_headers: str,
    signature: str,
    date: str,
    *,
    presigned: bool,
    expires_s: int = 0,
) -> Claim:
    parts = credential.split("/")
    if not (credential + date + signature + signed_headers).isascii():
        raise _malformed("it holds characters that are not ASCII")
    if len(parts) < 5 or parts[-1] != "aws4_request":
        raise _malformed("the Credential must be KEY/date/region/service/aws4_request")
    if not _DATE.fullmatch(date) or not date.startswith(parts[-4]) or len(parts[-4]) != 8:
        raise _malformed("X-Amz-Date must be YYYYMMDDTHHMMSSZ, of the Credential's day")
    return Claim(
        access_key="/".join(parts[:-4]),
        day=parts[-4],
        region=parts[-3],
        service=parts[-2],
        signed_headers=tuple(signed_headers.lower().split(";")),
        signature=signature,
        date=date,
        presigned=presigned,
        expires_s=expires_s,
    )


class Verifier:
    """Verifies requests against the keys of this machine.

    Args:
        insecure: let everybody in, signed or not, with any key.
    """

    def __init__(
        self, keys: KeyRing, *, insecure: bool = False, now: Callable[[], float] = time.time
    ) -> None:
        self._keys = keys
        self._now = now
        self.insecure = insecure

    def verify(
        self,
        method: str,
        raw_path: str,
        raw_query: str,
        headers: Mapping[str, str],
        *,
        payload_hash: str | None = None,
        allow_v2: bool = False,
    ) -> Identity:
        """Who asks.

        Args:
            raw_path: as it came, percent signs and all.
            raw_query: likewise, without `?`.
            headers: by lower-case name, decoded as Latin-1; several of one name joined by commas.
            payload_hash: SHA-256 of the body in hex, for a request that does not tell it in
                `x-amz-content-sha256`. A hash that it does tell is left to be checked by whoever
                reads the body: `check_payload`.
            allow_v2: take presigned URLs of version 2, too. They sign neither body nor host, and
                are for the store alone.

        Raises:
            AwsError: AccessDenied, AuthorizationHeaderMalformed, InvalidAccessKeyId,
                SignatureDoesNotMatch, RequestTimeTooSkewed … with S3's codes.
        """
        if self.insecure:
            _refuse_web_pages(headers)
        if allow_v2 and is_presigned_v2(raw_query) and not self.insecure:
            return self._verify_v2(method, raw_path, raw_query, headers)
        try:
            claim = read_claim(raw_query, headers)
        except AwsError:
            if not self.insecure:
                raise
            claim = None
        if claim is None:
            if self.insecure:
                return Identity(payload_hash=headers.get("x-amz-content-sha256", UNSIGNED))
            raise AwsError(
                "AccessDenied",
                'The request is not signed. In a shell: eval "$(houndsight env)".',
                status=403,
            )
        told = _told_hash(claim, headers, payload_hash)
        secret = self._keys.secret(claim.access_key)
        if not self.insecure:
            if secret is None:
                raise _foreign_key(claim.access_key)
            self._check_time(claim)
            _check_coverage(claim, headers)
        key = signing_key(secret or "", claim.day, claim.region, claim.service)
        if not self.insecure and not _matches(
            claim, key, method, raw_path, raw_query, headers, told
        ):
            raise _mismatch()
        return Identity(
            access_key=claim.access_key,
            region=claim.region,
            service=claim.service,
            signing_key=key,
            signature=claim.signature,
            date=claim.date,
            scope=claim.scope,
            presigned=claim.presigned,
            payload_hash=told,
        )

    def _verify_v2(
        self, method: str, raw_path: str, raw_query: str, headers: Mapping[str, str]
    ) -> Identity:
        values = query_values(raw_query)
        expires, access_key = values["Expires"], values["AWSAccessKeyId"]
        secret = self._keys.secret(access_key)
        if secret is None:
            raise _foreign_key(access_key)
        if not expires.isascii() or not expires.isdigit() or len(expires) > 12:
            raise _malformed("Expires must be a time in seconds")
        if self._now() > int(expires):
            raise AwsError("AccessDenied", "Request has expired", status=403)
        bucket = bucket_of_host(headers.get("host", ""))
        right = signature_v2(secret, method, raw_path, raw_query, headers, host_bucket=bucket)
        if not hmac.compare_digest(right.encode(), values["Signature"].encode()):
            raise _mismatch()
        return Identity(access_key=access_key, service="s3", presigned=True)

    def _check_time(self, claim: Claim) -> None:
        try:
            then = datetime.fromisoformat(claim.date).timestamp()
        except ValueError as error:
            raise _malformed(f"X-Amz-Date is {claim.date}, which is no time") from error
        age = self._now() - then
        if claim.presigned and age > claim.expires_s:
            raise AwsError("AccessDenied", "Request has expired", status=403)
        if age < -SKEW_S or (not claim.presigned and age > SKEW_S):
            raise AwsError(
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large:"
                f" {age:.0f} s. Set the clock.",
                status=403,
            )


def check_payload(identity: Identity, sha256_hex: str) -> None:
    """Compare the hash that was signed with that of the body as it came.

    Raises:
        AwsError: they differ.
    """
    told = identity.payload_hash
    if _HEX.fullmatch(told) and not hmac.compare_digest(told, sha256_hex):
        raise AwsError(
            "XAmzContentSHA256Mismatch",
            "The provided 'x-amz-content-sha256' header does not match what was computed.",
        )


@functools.lru_cache(maxsize=256)
def signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    """The key of a day, a region and a service."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _told_hash(claim: Claim, headers: Mapping[str, str], payload_hash: str | None) -> str:
    told = headers.get("x-amz-content-sha256")
    if told is not None:
        if not (_HEX.fullmatch(told) or told == UNSIGNED or told.startswith("STREAMING-")):
            raise AwsError(
                "InvalidArgument",
                "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-…, or a SHA-256 in hex.",
            )
        return told
    if claim.presigned and claim.service == "s3":
        return UNSIGNED
    return payload_hash or EMPTY_SHA256


def _check_coverage(claim: Claim, headers: Mapping[str, str]) -> None:
    """Whatever changes a request's meaning has to be signed, or anybody on its way could."""
    signed = set(claim.signed_headers)
    loose = [name for name in headers if name.startswith("x-amz-") and name not in signed]
    if "host" not in signed:
        loose.append("host")
    if claim.presigned:
        loose = [name for name in loose if name != "x-amz-content-sha256"]
    if loose:
        raise AwsError(
            "AccessDenied",
            f"There were headers present in the request which were not signed: {', '.join(loose)}",
            status=403,
        )


def _matches(
    claim: Claim,
    key: bytes,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    told: str,
) -> bool:
    query = _canonical_query(raw_query)
    lines = "".join(f"{name}:{_trimmed(headers.get(name, ''))}\n" for name in claim.signed_headers)
    after = f"{query}\n{lines}\n{';'.join(claim.signed_headers)}\n{told}"
    for path in _canonical_paths(raw_path, claim.service):
        canonical = _sha256(f"{method}\n{path}\n{after}")
        text = f"{ALGORITHM}\n{claim.date}\n{claim.scope}\n{canonical}"
        signature = hmac.digest(key, text.encode(), "sha256").hex()
        if hmac.compare_digest(signature.encode(), claim.signature.encode()):
            return True
    return False


def _sha256(canonical: str) -> str:
    # Headers were decoded as Latin-1, so that this gives their bytes back; the rest is ASCII.
    return hashlib.sha256(canonical.encode("latin-1", "backslashreplace")).hexdigest()


def _canonical_paths(raw_path: str, service: str) -> list[str]:
    """The path as clients may have signed it.

    S3's is signed as sent, or as its characters are encoded in the one canonical way; all other
    services' is encoded a second time.
    """
    path = raw_path or "/"
    again = quote(unquote_to_bytes(path), safe="/-_.~")
    if service == "s3":
        return list(dict.fromkeys((path, again)))
    return list(dict.fromkeys((quote(path, safe="/~"), quote(again, safe="/~"), path)))


def _canonical_query(raw_query: str) -> str:
    if not raw_query:
        return ""
    pairs = sorted(
        (_encoded(name), _encoded(value))
        for name, value in _query_pairs(raw_query)
        if name != "X-Amz-Signature"
    )
    return "&".join(f"{name}={value}" for name, value in pairs)


def _query_pairs(raw_query: str) -> list[tuple[str, str]]:
    """Names and values; a plus stays a plus, and what is no UTF-8 survives the way back."""
    pairs = []
    for part in raw_query.split("&"):
        if part:
            name, _, value = part.partition("=")
            pairs.append((_decoded(name), _decoded(value)))
    return pairs


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~", errors="surrogateescape")


def _decoded(text: str) -> str:
    return unquote(text, errors="surrogateescape") if "%" in text else text


def _trimmed(value: str) -> str:
    return " ".join(value.split())


def _from_http_date(text: str) -> str:
    """`Date: Mon, 23 Nov 2026 06:00:00 GMT`, which may stand in for X-Amz-Date."""
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    except (ValueError, OverflowError):
        return ""


def _foreign_key(access_key: str) -> AwsError:
    return AwsError(
        "InvalidAccessKeyId",
        f"The access key {access_key[:40]!r} is none of this machine's. In a shell:"
        ' eval "$(houndsight env)"; `houndsight keys list` shows all.',
        status=403,
    )


def _refuse_web_pages(headers: Mapping[str, str]) -> None:
    """Some requests a browser sends for any page; signatures are what else refuses them."""
    if "origin" in headers:
        raise AwsError(
            "AccessDenied",
            f"The request comes from a web page ({headers['origin'][:100]}), and signatures are"
            " not checked here: start the platform without --insecure.",
            status=403,
        )


def _mismatch() -> AwsError:
    return AwsError(
        "SignatureDoesNotMatch",
        "The request signature we calculated does not match the signature you provided."
        " Check your secret access key.",
        status=403,
    )


def _malformed(what: str) -> AwsError:
    return AwsError("AuthorizationHeaderMalformed", f"The signature cannot be read: {what}.")
