"""Presigned URLs of signature version 2, which boto3 makes for S3 where nothing is configured.

Source: "Signing and authenticating REST requests", Amazon S3 API reference, query string request
authentication alternative.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import unquote

__all__ = ["is_presigned_v2", "query_values", "signature_v2", "with_headers_of_query"]

_NAMES = """
    accelerate acl analytics cors defaultObjectAcl delete inventory lifecycle location logging
    metrics notification object-lock partNumber policy replication requestPayment
    response-cache-control response-content-disposition response-content-encoding
    response-content-language response-content-type response-expires restore select select-type
    storageClass tagging torrent uploadId uploads versionId versioning versions website
"""
SUBRESOURCES = frozenset(_NAMES.split())
"""The query's parts that are signed."""


def is_presigned_v2(raw_query: str) -> bool:
    """Whether a query holds such a signature."""
    names = {part.partition("=")[0] for part in raw_query.split("&")}
    return {"AWSAccessKeyId", "Signature", "Expires"} <= names


def query_values(raw_query: str) -> dict[str, str]:
    """The query's values by name, decoded."""
    parts = (part.partition("=") for part in raw_query.split("&"))
    return {unquote(name): unquote(value) for name, _, value in parts}


def with_headers_of_query(raw_query: str, headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, with those that such a URL carries in its query: metadata, the type.

    What came as a header counts, if a name stands in both.
    """
    values = {name.lower(): value for name, value in query_values(raw_query).items()}
    carried = {
        name: value
        for name, value in values.items()
        if name.startswith("x-amz-") or name in ("content-md5", "content-type")
    }
    return {**carried, **headers}


def signature_v2(
    secret: str,
    method: str,
    raw_path: str,
    raw_query: str,
    headers: Mapping[str, str],
    *,
    host_bucket: str = "",
) -> str:
    """What the URL's `Signature` has to be: HMAC-SHA1 in Base64.

    Args:
        raw_path: as it came, percent signs and all.
        headers: by lower-case name; every `x-amz-` one is signed, wherever it stands.
        host_bucket: the bucket that the `Host` header names instead of the path.
    """
    told = with_headers_of_query(raw_query, headers)
    expires = query_values(raw_query)["Expires"]
    lines = [method, told.get("content-md5", ""), told.get("content-type", ""), expires]
    amazons = sorted(name for name in told if name.startswith("x-amz-"))
    lines += [f"{name}:{told[name].strip()}" for name in amazons]
    resource = f"/{host_bucket}{raw_path}" if host_bucket else raw_path
    lines.append(resource + _subresources(raw_query))
    digest = hmac.new(secret.encode(), "\n".join(lines).encode(), hashlib.sha1).digest()
    return base64.b64encode(digest).decode()


def _subresources(raw_query: str) -> str:
    # Decoded first: whoever acts on the query decodes the names, too.
    parts = [part.partition("=") for part in raw_query.split("&")]
    named = [(unquote(name), equals + unquote(value)) for name, equals, value in parts]
    signed = sorted(pair for pair in named if pair[0] in SUBRESOURCES)
    return "?" + "&".join(name + value for name, value in signed) if signed else ""
