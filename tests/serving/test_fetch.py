import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from houndsight.errors import RequestError
from houndsight.serving.addresses import Address, why_refused
from houndsight.serving.fetch import Fetcher, parse_target
from houndsight.serving.settings import ServingSettings

DEFAULTS = ServingSettings()


@contextmanager
def web(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[int]:
    """A web server on the loopback address; its port."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def resolver(**names: str) -> Callable[[str, int], Any]:
    """Resolves names to addresses; several answers of one name are separated by commas."""
    asked: dict[str, int] = {}

    async def resolve(host: str, port: int) -> Sequence[Address]:
        if host not in names:
            raise socket.gaierror(host)
        answers = names[host].split(";")
        turn = min(asked.get(host, 0), len(answers) - 1)
        asked[host] = turn + 1
        return [ipaddress.ip_address(a) for a in answers[turn].split(",")]

    return resolve


def fetch(url: str, resolve: Any = None, **changes: Any) -> bytes:
    async def run() -> bytes:
        fetcher = Fetcher(ServingSettings(**changes), resolver=resolve)
        try:
            return await fetcher.fetch(url)
        finally:
            await fetcher.close()

    return asyncio.run(run())


def refused(url: str, resolve: Any = None, **changes: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        fetch(url, resolve, **changes)
    return caught.value


def local(port: int, **changes: Any) -> dict[str, Any]:
    return {"url_networks": ("127.0.0.0/8",), "url_ports": (80, 443, port), **changes}


def send(request: BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in ({"content-length": str(len(body))} | headers).items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
    request.wfile.write(body)


def test_fetches_what_a_setting_allows_and_sends_the_name() -> None:
    seen = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        seen.append((request.path, request.headers["host"], request.headers["accept-encoding"]))
        send(request, b"photo")

    with web(answer) as port:
        names = resolver(photos="127.0.0.1")
        assert fetch(f"http://photos:{port}/a%20b?c=d", names, **local(port)) == b"photo"
    assert seen == [("/a%20b?c=d", f"photos:{port}", "identity")]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost/",
        "http://0.0.0.0/",
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]/",
        "http://[fd00:ec2::254]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[64:ff9b::a9fe:a9fe]/",
        "http://[fe80::1%25eth0]/",
        "http://224.0.0.1/",
    ],
)
def test_addresses_inside_are_refused(url: str) -> None:
    error = refused(url, resolver(localhost="127.0.0.1"))
    assert error.status == 400
    assert "127.0.0.1 leads" not in str(error) or "127.0.0.1" in url


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("ftp://a.example/", "http://"),
        ("file:///etc/passwd", "http://"),
        ("//a.example/", "http://"),
        ("a.example", "http://"),
        ("http:///x", "host name"),
        ("http://user:secret@a.example/", "user name"),
        ("http://a.example:22/", "Port 22"),
        ("http://a.example:99999/", "not valid|Port"),
        ("http://a.example\\@b.example/", "backslash"),
        ("http://a.example/ x", "space"),
        ("http://a.example/\n", "control"),
        ("http://2130706433/", "plain IP"),
        ("http://0x7f000001/", "plain IP"),
        ("http://0177.0.0.1/", "plain IP|not valid"),
        ("http://127.1/", "plain IP"),
        ("http://[::1/", "not valid"),
        ("http://a.example/" + "x" * 5000, "characters"),
    ],
)
def test_forms_that_are_refused(url: str, sentence: str) -> None:
    with pytest.raises(RequestError, match=sentence) as caught:
        parse_target(url, DEFAULTS)
    assert caught.value.status == 400


@pytest.mark.parametrize("host", ["①②⑦.⓪.⓪.①", "127。0。0。1", "ⅼocalhost"])  # noqa: RUF001
def test_letters_that_turn_into_others_do_not_help(host: str) -> None:
    names = resolver(**{"localhost": "127.0.0.1", "127.0.0.1": "127.0.0.1"})
    assert refused(f"http://{host}/", names).status in (400, 502)


def test_a_name_that_leads_inside_is_refused_without_telling_where() -> None:
    error = refused("http://inner.example/", resolver(**{"inner.example": "10.9.8.7"}))
    assert "inner.example leads to a private address" in str(error)
    assert "10.9.8.7" not in str(error)


def test_one_private_address_among_public_ones_is_enough() -> None:
    names = resolver(**{"both.example": "93.184.216.34,10.0.0.1"})
    assert "private" in str(refused("http://both.example/", names))


def test_the_checked_address_is_the_one_that_is_used() -> None:
    """The name answers with another address the second time; nobody asks it again."""
    with web(lambda request: send(request, b"photo")) as port:
        names = resolver(rebind="127.0.0.1;10.0.0.1")
        assert fetch(f"http://rebind:{port}/", names, **local(port)) == b"photo"


def test_an_address_that_does_not_answer_is_passed_over() -> None:
    with web(lambda request: send(request, b"photo")) as port:
        names = resolver(two="127.0.0.9,127.0.0.1")
        assert fetch(f"http://two:{port}/", names, **local(port)) == b"photo"


@pytest.mark.parametrize(
    ("location", "status", "sentence"),
    [
        ("http://169.254.169.254/", 400, "metadata"),
        ("http://127.0.0.2:1/", 400, "Port 1"),
        ("http://inner/", 400, "private"),
        ("file:///etc/passwd", 400, "http://"),
        ("//0x7f.1/", 400, "plain IP"),
        ("http://user@outer/", 400, "user name"),
        ("http://gone/", 502, "cannot be found"),
    ],
)
def test_redirects_are_checked_again(location: str, status: int, sentence: str) -> None:
    names = resolver(outer="127.0.0.1", inner="10.0.0.1")
    with web(lambda request: send(request, b"", 302, location=location)) as port:
        error = refused(f"http://outer:{port}/", names, **local(port))
    assert error.status == status and sentence in str(error)


def test_follows_a_few_redirects_and_no_more() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        left = int(request.path[1:])
        if left:
            send(request, b"", 302, location=f"/{left - 1}")
        else:
            send(request, b"photo")

    with web(answer) as port:
        assert fetch(f"http://127.0.0.1:{port}/3", **local(port)) == b"photo"
        error = refused(f"http://127.0.0.1:{port}/4", **local(port))
    assert error.status == 502 and "more than 3 times" in str(error)


def test_long_photos_are_cut_whatever_they_declare() -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            for _ in range(10_000):
                request.wfile.write(bytes(10_000))
        except OSError:
            pass

    with web(endless) as port:
        url = f"http://127.0.0.1:{port}/"
        assert refused(url, **local(port, url_max_bytes=50_000)).status == 413


def test_slow_photos_are_given_up() -> None:
    stop = threading.Event()

    def slow(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while not stop.wait(0.05):
                request.wfile.write(b"x")
        except OSError:
            pass

    with web(slow) as port:
        error = refused(f"http://127.0.0.1:{port}/", **local(port, url_timeout_s=0.4))
        stop.set()
    assert error.status == 504 and "0.4 s" in str(error)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda r: send(r, b"", 404), "status 404"),
        (lambda r: send(r, b"", 302), "status 302"),
        (lambda r: send(r, b"x", content_encoding="gzip"), "compressed"),
        (lambda r: r.wfile.write(b"nonsense\r\n\r\n"), "could not be fetched"),
        (lambda r: send(r, b"abc", content_length="10"), "could not be fetched"),
        (lambda r: None, "could not be fetched"),
    ],
)
def test_what_the_other_side_does_wrong_is_502(answer: Any, sentence: str) -> None:
    with web(answer) as port:
        error = refused(f"http://127.0.0.1:{port}/", **local(port))
    assert error.status == 502 and sentence in str(error)


def test_a_port_where_nobody_listens_is_502() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert refused(f"http://127.0.0.1:{port}/", **local(port)).status == 502


def test_fetching_can_be_switched_off() -> None:
    assert refused("http://a.example/", urls=False).status == 403


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with web(lambda request: send(request, b"photo")) as port:
        assert fetch(f"http://127.0.0.1:{port}/", **local(port)) == b"photo"


hosts = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(lambda a: f"[{a}]"),
    st.integers(0, 2**33).map(str),
    st.integers(0, 2**32).map(hex),
    st.lists(st.sampled_from(["0", "127", "0x7f", "0177", "1", "256"]), max_size=5).map(".".join),
    st.sampled_from(["localhost", "a.example", "127.0.0.1.", "１２７.0.0.1", "[::ffff:1.2.3.4]"]),  # noqa: RUF001
    st.text(max_size=12),
)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["http", "https", "HTTP", "ftp", "file", "gopher", ""]),
    st.sampled_from(["", "user@", "a:b@", "@"]),
    hosts,
    st.sampled_from(["", ":80", ":443", ":22", ":", ":0", ":65536", ":-1"]),
    st.text(max_size=8),
)
def test_no_address_leads_inside(scheme: str, user: str, host: str, port: str, path: str) -> None:
    """Whatever is asked, either it is refused or the connection goes to a public address."""
    connected: list[Any] = []

    async def ask() -> None:
        fetcher = Fetcher(DEFAULTS, resolver=resolver(localhost="127.0.0.1"))

        async def get(target: Any, address: Address) -> tuple[bytes, str]:
            connected.append((target, address))
            return b"photo", ""

        fetcher._get = get  # type: ignore[method-assign,assignment]
        try:
            await fetcher.fetch(f"{scheme}://{user}{host}{port}/{path}")
        except RequestError as error:
            assert 400 <= error.status < 600 and str(error)
        finally:
            await fetcher.close()

    asyncio.run(ask())
    for target, address in connected:
        assert why_refused(address) is None
        assert target.port in (80, 443) and target.url.scheme in ("http", "https")
        assert ipaddress.ip_address(target.host) == address
