"""Presigned URLs of version 2, as boto3 makes them and as somebody else might bend them."""

from __future__ import annotations

import http.client
from pathlib import Path
from urllib.parse import urlsplit

from s3_server import running


def asked(method: str, url: str, headers: dict[str, str] | None = None) -> int:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=20)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", b"body", headers or {})
        return connection.getresponse().status
    finally:
        connection.close()


def test_what_the_url_carries_is_kept_and_nothing_is_added(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        for bucket in ("open", "secret"):
            server.store.create_bucket(bucket)
        server.store.put("secret", "key", b"top secret")
        parameters = {"Bucket": "open", "Key": "a b", "Metadata": {"who": "me"}}
        client = server.client(signature_version="s3")
        url = client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=60)
        assert asked("PUT", url, {"x-amz-copy-source": "/secret/key"}) == 403
        assert asked("PUT", url, {"Host": f"secret.s3.localhost:{server.port}"}) == 403
        assert asked("PUT", f"{url}&%74agging") == 403
        assert not list(server.store.iterate("open"))
        assert asked("PUT", url) == 200
        found = server.client().head_object(Bucket="open", Key="a b")
        assert (found["Metadata"], found["ContentLength"]) == ({"who": "me"}, 4)
