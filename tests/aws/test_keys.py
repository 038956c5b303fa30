"""The keys of this machine."""

from __future__ import annotations

import stat
import threading
from pathlib import Path

import pytest

from houndsight.aws.keys import KeyRing
from houndsight.errors import HoundsightError, RunError


def test_the_first_key_is_made_once_and_only_the_owner_reads_it(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "new" / "keys.json")
    key = ring.first()
    assert ring.first() == key == KeyRing(tmp_path / "new" / "keys.json").first()
    assert stat.S_IMODE((tmp_path / "new" / "keys.json").stat().st_mode) == 0o600
    assert len(key.access_key) == 20
    assert len(key.secret) == 40
    assert ring.secret(key.access_key) == key.secret
    assert ring.secret("AKIAIOSFODNN7EXAMPLE") is None


def test_what_another_process_adds_and_removes_counts_at_once(tmp_path: Path) -> None:
    ours, theirs = KeyRing(tmp_path / "keys.json"), KeyRing(tmp_path / "keys.json")
    first = ours.first()
    key = theirs.add("ci")
    assert ours.secret(key.access_key) == key.secret
    theirs.remove("ci")
    assert ours.secret(key.access_key) is None
    with pytest.raises(HoundsightError, match="is the last key"):
        theirs.remove(first.access_key)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 65])
def test_a_name_is_something_that_prints(tmp_path: Path, name: str) -> None:
    with pytest.raises(HoundsightError, match="cannot name a key"):
        KeyRing(tmp_path / "keys.json").add(name)


def test_names_are_taken_once_and_the_missing_are_said(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    ring.add("ci")
    with pytest.raises(HoundsightError, match="There is a key 'ci' already"):
        ring.add("ci")
    with pytest.raises(HoundsightError, match="There is no key 'cj'; there are ci"):
        ring.remove("cj")


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": 1}', '{"version":1,"keys":[1]}'])
def test_a_damaged_file_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "keys.json").write_text(content)
    with pytest.raises(RunError, match="is damaged"):
        KeyRing(tmp_path / "keys.json").list()


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text('{"version": 2, "keys": []}')
    with pytest.raises(RunError, match="newer Houndsight"):
        KeyRing(tmp_path / "keys.json").list()


def test_keys_added_at_once_are_all_there(tmp_path: Path) -> None:
    threads = [
        threading.Thread(target=KeyRing(tmp_path / "keys.json").add, args=(f"key-{number}",))
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(KeyRing(tmp_path / "keys.json").list()) == 12
