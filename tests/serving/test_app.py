import asyncio
import base64
import io
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tiny_model import CLASSES, random_images, saved_model

from houndsight.errors import RequestError
from houndsight.models.artifact import ModelArtifact
from houndsight.serving.app import make_app
from houndsight.serving.handler import Handler, ImageClassifier
from houndsight.serving.settings import ServingSettings

JPEG = {"content-type": "image/jpeg"}


def encoded(image: np.ndarray, kind: str = "JPEG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).resize((90, 60)).save(buffer, kind)
    return buffer.getvalue()


PHOTO = encoded(random_images(1)[0])


@contextmanager
def client(
    handler: Handler[Any, Any] | None = None, fetcher: Any = None, **changes: Any
) -> Iterator[Callable[..., httpx.Response]]:
    """Sends requests to the application, whose loop runs in a thread of its own."""
    settings = ServingSettings(**({"decode_threads": 2, "compute_threads": 1} | changes))
    if handler is None:
        handler = ImageClassifier(ModelArtifact.load(saved_model("openvino")), settings)
    app = make_app(handler, settings, fetcher=fetcher)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def wait(coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)

    lifespan = app.router.lifespan_context(app)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    web = httpx.AsyncClient(transport=transport, base_url="http://endpoint", timeout=60)
    wait(lifespan.__aenter__())
    try:
        yield lambda *args, **kwargs: wait(web.request(*args, **kwargs))
    finally:
        wait(lifespan.__aexit__(None, None, None))
        wait(web.aclose())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.fixture(scope="module")
def ask() -> Iterator[Callable[..., httpx.Response]]:
    with client(max_upload_bytes=100_000, max_megapixels=0.5, max_instances=8) as send:
        yield send


def invoke(ask: Any, content: Any = PHOTO, path: str = "/invocations", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return ask("POST", path, content=content, headers=JPEG | named)


def test_ping(ask: Any) -> None:
    response = ask("GET", "/ping")
    assert response.status_code == 200
    assert response.json() == {
        "status": "ok",
        "backbone": "tiny",
        "classes": 4,
        "backend": "openvino",
    }


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_gets_what_predict_says(ask: Any, kind: str) -> None:
    content = encoded(random_images(1, seed=5)[0], kind)
    response = invoke(ask, content, content_type=f"image/{kind.lower()}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    (found,) = response.json()["predictions"]
    expected = ModelArtifact.load(saved_model("openvino")).predict(content).top(5)[0]
    assert [entry["class"] for entry in found["top"]] == [name for name, _ in expected]
    values = [entry["probability"] for entry in found["top"]]
    assert values == pytest.approx([value for _, value in expected], abs=1e-6)
    assert (found["class"], found["probability"]) == (expected[0][0], values[0])


def test_names_that_are_not_ascii_come_as_they_are(ask: Any) -> None:
    assert "ünder" in invoke(ask, path="/invocations?top=all").content.decode()


@pytest.mark.parametrize(("top", "count"), [("1", 1), ("3", 3), ("all", 4), ("99", 4)])
def test_as_many_classes_as_asked(ask: Any, top: str, count: int) -> None:
    found = invoke(ask, path=f"/invocations?top={top}").json()["predictions"][0]
    assert len(found["top"]) == count


def test_many_instances_with_bad_ones_between(ask: Any) -> None:
    good = base64.b64encode(PHOTO).decode()
    bad = base64.b64encode(b"no photo").decode()
    body = json.dumps({"instances": [good, bad, "?", good], "top": 2})
    response = invoke(ask, body, content_type="application/json")
    first, second, third, fourth = response.json()["predictions"]
    assert response.status_code == 200 and first == fourth and len(first["top"]) == 2
    assert "not a photo" in second["error"] and "base64" in third["error"]


def big(width: int) -> bytes:
    return encoded_size(width, 1000)


def encoded_size(width: int, height: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "headers", "status", "sentence"),
    [
        (b"", {}, 400, "empty"),
        (b"no photo", {}, 422, "This is not a photo: it begins like text."),
        (PHOTO[:200], {}, 422, "truncated"),
        (b"GIF89a" + b"x" * 50, {}, 415, "is GIF; this endpoint takes JPEG, PNG, WEBP"),
        (PHOTO, {"content_type": "text/csv"}, 415, "'text/csv' is not taken"),
        (PHOTO, {"accept": "text/html"}, 406, "application/json"),
        (big(1000), {"content_type": "image/png"}, 413, "MP"),
        (b"x" * 200_000, {}, 413, "over 100,000 bytes"),
        (b"{", {"content_type": "application/json"}, 400, "valid JSON"),
        (b'{"url": "http://127.0.0.1/"}', {"content_type": "application/json"}, 400, "loopback"),
    ],
)
def test_errors_are_sentences_with_their_status(
    ask: Any, content: bytes, headers: dict[str, str], status: int, sentence: str
) -> None:
    response = invoke(ask, content, **headers)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/json"
    assert list(response.json()) == ["error"] and sentence in response.json()["error"]
    assert invoke(ask).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("GET", "/invocations", 405), ("POST", "/ping", 405)],
)
def test_other_paths(ask: Any, method: str, path: str, status: int) -> None:
    response = ask(method, path)
    assert response.status_code == status and "GET /ping" in response.json()["error"]


def test_a_bad_top_is_said(ask: Any) -> None:
    assert invoke(ask, path="/invocations?top=0").status_code == 400


def test_a_body_without_a_length_is_cut_at_the_limit(ask: Any) -> None:
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            sent.append(1)
            yield bytes(10_000)

    assert invoke(ask, endless()).status_code == 413
    assert len(sent) < 20 or len(sent) == 1000  # the test's transport may read ahead


def test_a_body_that_comes_too_slowly_is_given_up() -> None:
    class Slow(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"x"
            await asyncio.sleep(30)

    with client(Plain(), upload_timeout_s=0.2) as send:
        response = invoke(send, Slow())
    assert response.status_code == 408 and response.headers["connection"] == "close"


class Plain(Handler[int, int]):
    """Lengths of bodies; waits or fails when told to."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.go.set()
        self.batches: list[int] = []
        self.closed = False

    def decode(self, content: bytes) -> int:
        if content == b"bad":
            raise RequestError("bad bytes", status=422)
        return len(content)

    def predict(self, batch: Sequence[int]) -> Sequence[int]:
        self.batches.append(len(batch))
        assert self.go.wait(20)
        if 13 in batch:
            raise RuntimeError("a secret of the machine")
        return [2 * item for item in batch]

    def present(self, result: int, top: int) -> Mapping[str, Any]:
        return {"result": result}

    def close(self) -> None:
        self.closed = True


def test_a_failing_request_is_500_without_details_and_hurts_no_other() -> None:
    handler = Plain()
    with client(handler) as send, ThreadPoolExecutor(6) as pool:
        handler.go.clear()
        bodies = [b"x", b"x" * 13, b"bad", b"xx", b"xxx"]
        asked = [pool.submit(invoke, send, body) for body in bodies]
        handler.go.set()
        found = [a.result() for a in asked]
    assert [r.status_code for r in found] == [200, 500, 422, 200, 200]
    assert "secret" not in found[1].text and "error" in found[1].json()
    assert found[4].json() == {"predictions": [{"result": 6}]}
    assert handler.closed


def test_more_than_the_house_holds_is_503() -> None:
    handler = Plain()
    with client(handler, max_waiting=2) as send, ThreadPoolExecutor(4) as pool:
        handler.go.clear()
        asked = [pool.submit(invoke, send) for _ in range(4)]
        while sum(a.done() for a in asked) < 2:
            threading.Event().wait(0.01)
        handler.go.set()
        found = [a.result() for a in asked]
    assert sorted(r.status_code for r in found) == [200, 200, 503, 503]
    refused = next(r for r in found if r.status_code == 503)
    assert refused.headers["retry-after"] == "1" and "waiting" in refused.json()["error"]


def test_requests_at_once_share_batches() -> None:
    handler = Plain()
    with client(handler, max_batch=8) as send, ThreadPoolExecutor(12) as pool:
        handler.go.clear()
        asked = [pool.submit(invoke, send) for _ in range(12)]
        threading.Event().wait(0.3)
        handler.go.set()
        assert all(a.result().status_code == 200 for a in asked)
    assert sum(handler.batches) == 12 and len(handler.batches) < 12
    assert max(handler.batches) <= 8


def test_an_answer_that_takes_too_long_is_503() -> None:
    handler = Plain()
    with client(handler, answer_timeout_s=0.2) as send:
        handler.go.clear()
        assert invoke(send).status_code == 503
        handler.go.set()


def test_a_url_is_fetched() -> None:
    class Fetching:
        async def fetch(self, url: str) -> bytes:
            if url != "http://a/":
                raise RequestError("gone", status=502)
            return b"12345"

        async def close(self) -> None:
            pass

    with client(Plain(), fetcher=Fetching()) as send:
        good = invoke(send, b'{"url": "http://a/"}', content_type="application/json")
        bad = invoke(send, b'{"url": "http://b/"}', content_type="application/json")
    assert good.json() == {"predictions": [{"result": 10}]}
    assert bad.status_code == 502 and bad.json() == {"error": "gone"}


def test_other_formats_are_taken_when_a_setting_says_so() -> None:
    content = encoded(random_images(1)[0], "GIF")
    with client(formats=("gif",)) as send:
        assert invoke(send, content).status_code == 200
        assert invoke(send, PHOTO).status_code == 415


def test_every_class_is_in_the_full_answer(ask: Any) -> None:
    found = invoke(ask, path="/invocations?top=all").json()["predictions"][0]["top"]
    assert {entry["class"] for entry in found} == {c.name for c in CLASSES}
    assert sum(entry["probability"] for entry in found) == pytest.approx(1, abs=1e-5)
