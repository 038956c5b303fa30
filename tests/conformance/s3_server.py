"""The S3 application on a free port, in a thread of the test, and clients for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.config import Config

from houndsight.aws.keys import KeyRing
from houndsight.aws.s3.app import S3App
from houndsight.aws.signature import Verifier
from houndsight.jobs.objects import ObjectStore

SESSION = boto3.Session()


class S3Server:
    """A running server: its address, its store, clients."""

    def __init__(self, folder: Path, port: int, store: ObjectStore, keys: KeyRing) -> None:
        self.folder, self.port, self.store, self.keys = folder, port, store, keys
        self.address = f"http://127.0.0.1:{port}"
        self._clients: list[Any] = []

    def client(self, *, region: str = "us-east-1", secret: str = "", **config: Any) -> Any:
        """A boto3 client with this server's key, or with another secret."""
        key = self.keys.first()
        made = SESSION.client(
            "s3",
            endpoint_url=self.address,
            region_name=region,
            aws_access_key_id=key.access_key,
            aws_secret_access_key=secret or key.secret,
            config=Config(
                retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60, **config
            ),
        )
        self._clients.append(made)
        return made

    def environment(self, folder: Path) -> dict[str, str]:
        """What the command line needs, with small multipart sizes and no other configuration."""
        key = self.keys.first()
        config = folder / "aws-config"
        config.write_text(
            "[default]\nregion = us-east-1\ns3 =\n  multipart_threshold = 5MB\n"
            "  multipart_chunksize = 5MB\n  addressing_style = path\n"
        )
        return {
            "AWS_ENDPOINT_URL": self.address,
            "AWS_ACCESS_KEY_ID": key.access_key,
            "AWS_SECRET_ACCESS_KEY": key.secret,
            "AWS_CONFIG_FILE": str(config),
            "AWS_SHARED_CREDENTIALS_FILE": str(folder / "none"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
        }

    def close(self) -> None:
        for client in self._clients:
            client.close()


@contextmanager
def running(folder: Path, *, insecure: bool = False) -> Iterator[S3Server]:
    """A server whose state lies in `folder`."""
    keys = KeyRing(folder / "keys.json")
    store = ObjectStore(folder / "objects")
    app = S3App(store, Verifier(keys, insecure=insecure))
    config = uvicorn.Config(app, port=0, lifespan="off", log_level="error", access_log=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        thread.join(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    running_server = S3Server(folder, port, store, keys)
    try:
        yield running_server
    finally:
        running_server.close()
        server.should_exit = True
        thread.join()
        app.close()
        store.close()


@pytest.fixture(scope="module")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """One server for the tests of a module."""
    with running(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def s3(s3_server: S3Server) -> Any:
    """A client of it."""
    return s3_server.client()


@pytest.fixture
def bucket(s3_server: S3Server, request: pytest.FixtureRequest) -> str:
    """A bucket of the test's own."""
    name = f"test-{abs(hash(request.node.nodeid)):x}"
    s3_server.store.create_bucket(name)
    return name
