"""Claim: the object store is not behind other local S3 stores, though it waits for the disk.

Starts Houndsight's store in a process of its own and sends the same work to it and to every peer
that is named, in interleaved rounds, with boto3: 100 MB up and down, as one request and as the
SDK's transfer manager cuts it, and 1,000 files of 10 kB up and down, one after the other and by
ten threads. Peers run elsewhere, each in an environment of its own:

    moto_server -p 5001                         # keeps objects in memory
    GATEWAY_PORT=5002 S3_PERSIST=1 ministack    # keeps them on disk, does not fsync
    python benchmarks/s3.py --peer moto=http://127.0.0.1:5001 ministack=http://127.0.0.1:5002
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _common import Table, machine, mean_interval, ratio_interval

BUCKET = "benchmark"
THREADS = 10
Work = Callable[[Any, str], float]


def main() -> None:
    """Start our side, measure all in turn, print one table."""
    arguments = _arguments()
    if arguments.serve:
        _serve(arguments.serve)
        return
    big, small = secrets.token_bytes(arguments.megabytes * 1_000_000), secrets.token_bytes(10_000)
    works = _works(big, small, arguments.files)
    with tempfile.TemporaryDirectory(prefix="houndsight-s3-") as folder, _ours(folder) as client:
        clients = {"houndsight": client, **_peers(arguments.peer)}
        rates: dict[str, dict[str, list[float]]] = {w: {c: [] for c in clients} for w in works}
        for number in range(arguments.rounds):
            for work, run in works.items():
                for name, side in clients.items():
                    rates[work][name].append(run(side, f"{number}-{secrets.token_hex(4)}"))
    _print_table(rates, list(clients), arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", nargs="*", default=[], help="NAME=URL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    return parser.parse_args()


def _works(big: bytes, small: bytes, files: int) -> Mapping[str, Work]:
    """What is measured, each giving MB/s or files/s."""
    return {
        f"{len(big) // 1_000_000} MB up, one request, MB/s": functools.partial(_put_big, big),
        f"{len(big) // 1_000_000} MB up, multipart, MB/s": functools.partial(_upload_big, big),
        f"{len(big) // 1_000_000} MB down, one request, MB/s": functools.partial(_get_big, big),
        f"{len(big) // 1_000_000} MB down, ranges, MB/s": functools.partial(_download_big, big),
        "puts/s, one by one": functools.partial(_put_small, small, files, 1),
        f"puts/s, {THREADS} threads": functools.partial(_put_small, small, files, THREADS),
        "gets/s, one by one": functools.partial(_get_small, small, files, 1),
        f"gets/s, {THREADS} threads": functools.partial(_get_small, small, files, THREADS),
    }


def _put_big(big: bytes, client: Any, tail: str) -> float:
    seconds = _timed(lambda: client.put_object(Bucket=BUCKET, Key=f"big-{tail}", Body=big))
    client.delete_object(Bucket=BUCKET, Key=f"big-{tail}")
    return len(big) / 1e6 / seconds


def _upload_big(big: bytes, client: Any, tail: str) -> float:
    seconds = _timed(lambda: client.upload_fileobj(io.BytesIO(big), BUCKET, f"big-{tail}"))
    client.delete_object(Bucket=BUCKET, Key=f"big-{tail}")
    return len(big) / 1e6 / seconds


def _get_big(big: bytes, client: Any, tail: str) -> float:
    client.put_object(Bucket=BUCKET, Key=f"big-{tail}", Body=big)
    body = client.get_object
    seconds = _timed(lambda: body(Bucket=BUCKET, Key=f"big-{tail}")["Body"].read())
    client.delete_object(Bucket=BUCKET, Key=f"big-{tail}")
    return len(big) / 1e6 / seconds


def _download_big(big: bytes, client: Any, tail: str) -> float:
    client.put_object(Bucket=BUCKET, Key=f"big-{tail}", Body=big)
    into = io.BytesIO()
    seconds = _timed(lambda: client.download_fileobj(BUCKET, f"big-{tail}", into))
    assert into.getbuffer().nbytes == len(big)
    client.delete_object(Bucket=BUCKET, Key=f"big-{tail}")
    return len(big) / 1e6 / seconds


def _put_small(small: bytes, files: int, threads: int, client: Any, tail: str) -> float:
    def put(number: int) -> None:
        client.put_object(Bucket=BUCKET, Key=f"small-{tail}/{number}", Body=small)

    return files / _timed(lambda: _each(put, files, threads))


def _get_small(small: bytes, files: int, threads: int, client: Any, tail: str) -> float:
    client.put_object(Bucket=BUCKET, Key=f"small-{tail}", Body=small)

    def get(_: int) -> None:
        client.get_object(Bucket=BUCKET, Key=f"small-{tail}")["Body"].read()

    return files / _timed(lambda: _each(get, files, threads))


def _each(work: Callable[[int], None], count: int, threads: int) -> None:
    if threads == 1:
        for number in range(count):
            work(number)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(count)))


def _timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# -- the sides --------------------------------------------------------------------------------


@contextmanager
def _ours(folder: str) -> Iterator[Any]:
    command = [sys.executable, __file__, "--serve", folder]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address, key, secret = process.stdout.readline().split()
        yield _client(address, key, secret)
    finally:
        process.terminate()
        process.wait()


def _peers(named: Sequence[str]) -> dict[str, Any]:
    from botocore.exceptions import BotoCoreError

    peers = {}
    for text in named:
        name, _, address = text.partition("=")
        try:
            peers[name] = _client(address, "test", "test")
        except BotoCoreError as error:
            print(f"{name} is not there: {error}")
    if not peers:
        print("No peers: name some with --peer to compare.")
    return peers


def _client(address: str, key: str, secret: str) -> Any:
    import boto3
    from botocore.config import Config

    config = Config(max_pool_connections=THREADS, s3={"addressing_style": "path"})
    client = boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        config=config,
    )
    client.create_bucket(Bucket=BUCKET)
    return client


def _serve(folder: str) -> None:
    import socket

    import uvicorn

    from houndsight.aws.keys import KeyRing
    from houndsight.aws.s3.app import S3App
    from houndsight.aws.signature import Verifier
    from houndsight.jobs.objects import ObjectStore

    keys = KeyRing(Path(folder) / "keys.json")
    app = S3App(ObjectStore(Path(folder) / "objects"), Verifier(keys))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = keys.first()
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", key.access_key, key.secret, flush=True)
    config = uvicorn.Config(app, lifespan="off", access_log=False, log_level="warning")
    uvicorn.Server(config).run(sockets=[listener])


def _print_table(
    rates: Mapping[str, Mapping[str, Sequence[float]]],
    names: Sequence[str],
    arguments: argparse.Namespace,
) -> None:
    rows = []
    for work, sides in rates.items():
        row = [work, *(f"{mean_interval(sides[name])[0]:,.0f}" for name in names)]
        for name in names[1:]:
            # Rates: ours over theirs is above 1 when ours is faster.
            middle, low, high = ratio_interval(sides[name], sides["houndsight"])
            row.append(f"{middle:.2f} ({low:.2f} to {high:.2f})")
        rows.append(row)
    ratios = [f"houndsight / {name}" for name in names[1:]]
    print(f"{machine()}; {os.getloadavg()[0]:.1f} other processes; {arguments.rounds} rounds\n")
    print(Table(["work", *names, *ratios], rows))


if __name__ == "__main__":
    main()
