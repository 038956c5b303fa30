import io
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image
from tiny_model import random_images, saved_model

from houndsight.errors import SettingError
from houndsight.models.artifact import ModelArtifact
from houndsight.serving.handler import ImageClassifier
from houndsight.serving.server import serve
from houndsight.serving.settings import ServingSettings

SCRIPT = Path(__file__).with_name("serve_tiny.py")


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(random_images(1)[0]).save(buffer, "JPEG")
    return buffer.getvalue()


@contextmanager
def served(seconds_a_batch: float = 0) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, str(SCRIPT), str(saved_model("openvino")), str(seconds_a_batch)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def invoke(address: str) -> httpx.Response:
    headers = {"content-type": "image/jpeg"}
    return httpx.post(f"{address}/invocations", content=photo(), headers=headers, timeout=60)


def test_answers_what_is_under_way_after_a_stop_signal() -> None:
    with served(seconds_a_batch=1) as (process, address), ThreadPoolExecutor(1) as pool:
        assert httpx.get(f"{address}/ping").json()["status"] == "ok"
        answer = pool.submit(invoke, address)
        assert process.stdout is not None and process.stdout.readline() == "computing\n"
        process.send_signal(signal.SIGTERM)
        assert answer.result().status_code == 200
        assert process.wait(30) == 0
        assert process.stdout.read().endswith("done\n")


def test_hostile_connections_do_not_stop_it() -> None:
    with served() as (_, address):
        host, port = address.removeprefix("http://").split(":")
        for sent in (b"nonsense\r\n\r\n", b"POST /invocations HTTP/1.1\r\n", bytes(100_000)):
            with socket.create_connection((host, int(port)), timeout=10) as connection:
                connection.sendall(sent)
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\n"
                b"content-length: 9000000000\r\n\r\nabc"
            )
            reply = b""
            while block := connection.recv(65_536):
                reply += block
        assert reply.startswith(b"HTTP/1.1 413") and b"most allowed" in reply
        assert invoke(address).status_code == 200


def test_a_client_that_sends_on_still_reads_why_it_was_refused() -> None:
    with served() as (_, address):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall(
                b"POST /invocations HTTP/1.1\r\nhost: x\r\ncontent-type: image/jpeg\r\n"
                b"transfer-encoding: chunked\r\n\r\n"
            )
            for _ in range(30):
                connection.sendall(b"%x\r\n%b\r\n" % (1_000_000, bytes(1_000_000)))
            connection.sendall(b"0\r\n\r\n")
            reply = b""
            while block := connection.recv(65_536):
                reply += block
        assert reply.startswith(b"HTTP/1.1 413") and reply.endswith(b'most allowed."}')
        assert b"connection: close" in reply
        assert invoke(address).status_code == 200


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = ServingSettings(port=taken.getsockname()[1])
        handler = ImageClassifier(ModelArtifact.load(saved_model()), settings)
        with pytest.raises(SettingError, match="cannot be listened on"):
            serve(handler, settings)
