import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from houndsight.errors import RequestError
from houndsight.serving.requests import ALL, Url, accepts_json, parse_asked, parse_top

JSON = "application/json"


def ask(record: object, kind: str = JSON) -> object:
    return parse_asked(kind, json.dumps(record).encode(), max_instances=4)


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "IMAGE/WEBP; q=1", "image/jpg"])
def test_a_photo_as_bytes(kind: str) -> None:
    asked = parse_asked(kind, b"bytes", max_instances=4)
    assert asked.photos == (b"bytes",) and not asked.many and asked.top is None


def test_a_photo_by_address() -> None:
    asked = parse_asked(JSON, b'{"url": "http://a/", "top": "all"}', max_instances=4)
    assert asked.photos == (Url("http://a/"),) and not asked.many and asked.top == ALL


def test_many_photos_with_a_bad_one() -> None:
    good = base64.b64encode(b"photo").decode()
    record = {"instances": [good, {"b64": good}, "?", 3], "top": 2}
    asked = parse_asked(JSON + "; charset=utf-8", json.dumps(record).encode(), max_instances=4)
    assert asked.many and asked.top == 2 and asked.photos[:2] == (b"photo", b"photo")
    assert [isinstance(p, RequestError) for p in asked.photos] == [False, False, True, True]


@pytest.mark.parametrize(
    ("kind", "body", "status", "sentence"),
    [
        (None, b"x", 415, "no Content-Type"),
        ("text/plain", b"x", 415, "'text/plain' is not taken"),
        ("image/tiff", b"x", 415, "image/tiff"),
        ("image/jpeg", b"", 400, "empty"),
        (JSON, b"", 400, "not valid JSON"),
        (JSON, b"\xff\xfe{", 400, "not valid JSON"),
        (JSON, b"[" * 100_000, 400, "not valid JSON"),
        (JSON, b"[]", 400, "must be an object"),
        (JSON, b"{}", 400, "either"),
        (JSON, b'{"url": "a", "instances": ["b"]}', 400, "either"),
        (JSON, b'{"url": 3}', 400, "must be a string"),
        (JSON, b'{"instances": []}', 400, "at least one"),
        (JSON, b'{"instances": "x"}', 400, "must be a list"),
        (JSON, b'{"instances": [1, 2, 3, 4, 5]}', 413, "at most 4"),
        (JSON, b'{"url": "a", "extra": 1}', 400, "'extra'"),
        (JSON, b'{"url": "a", "top": 0}', 400, "top"),
        (JSON, b'{"url": "a", "top": true}', 400, "top"),
        (JSON, b'{"url": "a", "top": 1.5}', 400, "top"),
    ],
)
def test_what_is_refused(kind: str | None, body: bytes, status: int, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence) as caught:
        parse_asked(kind, body, max_instances=4)
    assert caught.value.status == status


@given(
    st.none() | st.text(max_size=20) | st.sampled_from([JSON, "image/png"]),
    st.binary(max_size=50)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["url", "instances", "top", "b64"]), inner)
        ),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)
def test_every_body_is_taken_apart_or_refused(kind: str | None, body: bytes) -> None:
    try:
        asked = parse_asked(kind, body, max_instances=4)
    except RequestError as error:
        assert error.status in (400, 413, 415) and str(error)
        return
    assert 1 <= len(asked.photos) <= 4
    assert all(isinstance(p, RequestError | Url) or p for p in asked.photos)
    assert asked.top is None or asked.top == ALL or asked.top >= 1


@given(st.integers(1, 10**8))
def test_top_as_text_or_number(number: int) -> None:
    assert parse_top(number) == parse_top(str(number)) == number


@pytest.mark.parametrize("value", ["", "0", "-1", "\u0661", "1e3", None, [], "ALL", "9" * 5000])
def test_top_that_is_none(value: object) -> None:
    with pytest.raises(RequestError):
        parse_top(value)


@pytest.mark.parametrize(
    ("accept", "taken"),
    [
        (None, True),
        ("", True),
        ("*/*", True),
        ("application/json", True),
        ("application/*;q=0.1", True),
        ("text/html, application/json;q=0.5", True),
        ("text/html", False),
        ("application/json;q=0", False),
        ("application/json;q=0, */*", False),
        ("image/png, */*;q=0", False),
        ("application/json;q=x", False),
    ],
)
def test_accept(accept: str | None, taken: bool) -> None:
    assert accepts_json(accept) is taken


@given(st.text(max_size=40))
def test_any_accept_header_is_understood(accept: str) -> None:
    assert accepts_json(accept) in (True, False)
