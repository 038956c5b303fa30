"""Which objects a channel holds, kept once, and seen by each job privately."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from houndsight.jobs.container.channels import ChannelCache, select, shard
from houndsight.jobs.container.channels.selection import Item, _check_paths, _path_below
from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.layout import JobFolder
from houndsight.jobs.spec import Channel
from houndsight.jobs.status import JobState, JobStatus


def _paths(items):
    return [item.path for item in items]


# Prefix, keys in the store, paths the script finds.
PREFIXES = [
    ("data/train", ["data/train/a.jpg", "data/train/b/c.jpg"], ["a.jpg", "b/c.jpg"]),
    ("data/train/", ["data/train/a.jpg"], ["a.jpg"]),
    ("data/train/a.jpg", ["data/train/a.jpg", "data/train/b.jpg"], ["a.jpg"]),
    ("data/tr", ["data/train/a.jpg", "data/trees/b.jpg"], ["train/a.jpg", "trees/b.jpg"]),
    ("", ["a.jpg", "b/c.jpg"], ["a.jpg", "b/c.jpg"]),
    ("data", ["data/", "data/folder/", "data/folder/my dog.jpg"], ["folder/my dog.jpg"]),
]


@pytest.mark.parametrize(("prefix", "keys", "paths"), PREFIXES)
def test_paths_below_a_prefix(platform, channel, prefix, keys, paths):
    for key in keys:
        platform.put(key, "x")
    assert _paths(select(channel("training", prefix), platform.objects)) == paths


def test_a_manifest_lists_its_objects(platform, channel):
    for key in ("photos/a/1.jpg", "photos/b/2.jpg", "photos/c/3.jpg"):
        platform.put(key, key)
    platform.put("list", json.dumps([{"prefix": "s3://bucket/photos/"}, "b/2.jpg", "a/1.jpg"]))
    chosen = select(channel("t", "list", data_type="ManifestFile"), platform.objects)
    assert _paths(chosen) == ["a/1.jpg", "b/2.jpg"]


# Settings of the channel, what the sentence must name.
REFUSED = [
    ({"key": "nothing/here"}, ["No S3 objects found", "s3://bucket/nothing/here", "photos/"]),
    ({"key": "photos", "input_mode": "Pipe"}, ["Pipe", "FastFile"]),
    (
        {"key": "photos", "data_type": "AugmentedManifestFile"},
        ["AugmentedManifestFile", "S3Prefix"],
    ),
    ({"key": "photos/a.jpg", "data_type": "ManifestFile"}, ["is no manifest", "prefix"]),
    ({"key": "no-list", "data_type": "ManifestFile"}, ["no-list"]),
    ({"key": "missing-list", "data_type": "ManifestFile"}, ["'gone.jpg'", "photos/gone.jpg"]),
    ({"key": "leading-out", "data_type": "ManifestFile"}, ["'photos/../x'"]),
    ({"key": "conflict"}, ["'conflict/x'", "a folder"]),
    ({"key": "dots"}, ["'dots/../x'"]),
]


@pytest.mark.parametrize(("settings", "words"), REFUSED)
def test_what_cannot_be_a_channel_is_said(platform, channel, settings, words):
    for key in ("photos/a.jpg", "conflict/x", "conflict/x/y", "dots/../x", "x"):
        platform.put(key, "not json")
    gone = [{"prefix": "s3://bucket/photos/"}, "gone.jpg"]
    platform.put("missing-list", json.dumps(gone))
    platform.put("leading-out", json.dumps([{"prefix": "s3://bucket/photos/"}, "../x"]))
    platform.put("photos/../x", "x")
    with pytest.raises(ContainerError) as refused:
        select(channel("training", **settings), platform.objects)
    for word in words:
        assert word in str(refused.value)


def test_shards_are_disjoint_and_complete():
    items = [Item("b", f"k{i}", f"k{i}", 1, "e") for i in range(7)]
    parts = [shard(items, 3, index) for index in range(3)]
    assert sorted((i for part in parts for i in part), key=lambda i: i.key) == items
    assert {len(part) for part in parts} <= {2, 3}


@given(prefix=st.text("ab/.", max_size=6), rest=st.text("ab/.", max_size=8))
def test_no_key_leads_out_of_its_channel(prefix, rest):
    item = Item("b", prefix + rest, _path_below(prefix + rest, prefix), 1, "e")
    try:
        _check_paths(Channel(name="c", s3_uri="s3://b/"), [item])
    except ContainerError:
        return
    assert Path("/root", item.path).resolve().is_relative_to("/root")
    assert Path("/root", item.path).resolve() == Path("/root", item.path)


@pytest.fixture
def job(tmp_path):
    folder = JobFolder(tmp_path / "some-job")
    folder.path.mkdir()
    return folder


def test_a_channel_is_materialised_once_for_each_content(platform, channel, tmp_path, job):
    platform.put("data/a.txt", "one")
    cache = ChannelCache(tmp_path / "cache")
    first = cache.materialise(select(channel("t", "data"), platform.objects), platform.objects, job)
    again = cache.materialise(select(channel("u", "data"), platform.objects), platform.objects, job)
    assert again == first
    assert cache.made == 1
    platform.put("data/a.txt", "two")
    other = cache.materialise(select(channel("t", "data"), platform.objects), platform.objects, job)
    assert other != first
    assert ((other / "a.txt").read_text(), (first / "a.txt").read_text()) == ("two", "one")


def test_entries_of_running_jobs_stay(platform, channel, tmp_path, job):
    cache = ChannelCache(tmp_path / "cache", limit_bytes=10)
    for name in "ab":
        platform.put(f"{name}/x", name * 8)
    items = {name: select(channel("t", name), platform.objects) for name in "ab"}
    first = cache.materialise(items["a"], platform.objects, job)
    cache.materialise(items["b"], platform.objects, job)
    assert (first / "x").exists(), "the job may still read it"
    JobStatus().moved(JobState.STARTING, "", 1.0).moved(JobState.FAILED, "", 2.0).write(job.status)
    assert first.parent in cache.prune()
    assert not first.exists()


WRITE = """
import os, shutil, sys
folder = os.environ["SM_CHANNEL_TRAINING"]
assert open(folder + "/a/1.txt").read() == "one"
open(folder + "/a/1.txt", "w").write("spoilt")
open(folder + "/new.txt", "w").write("new")
os.remove(folder + "/a/2.txt")
shutil.move(folder + "/a", folder + "/b")
print(sorted(os.listdir(folder + "/b")))
"""


@pytest.mark.parametrize("namespaces", ["on", "off"])
def test_what_a_script_writes_into_its_channel_is_its_own(
    platform, channel, monkeypatch, namespaces
):
    monkeypatch.setenv("HOUNDSIGHT_NAMESPACES", namespaces)
    for number, text in ((1, "one"), (2, "two")):
        platform.put(f"data/a/{number}.txt", text)
    for _ in range(2):
        spec = platform.spec({"t.py": WRITE}, channels=(channel("training", "data"),))
        ended = platform.run(spec)
        assert ended.codes == {"algo-1": 0}, ended.log
        assert "['1.txt']" in ended.log
    with platform.objects.open("bucket", "data/a/1.txt") as file:
        assert file.read() == b"one"


def test_two_hosts_see_all_or_their_part(platform, channel):
    for number in range(5):
        platform.put(f"data/{number}", "x")
    script = """
import os
print("RESULT", {c: sorted(os.listdir(os.environ["SM_CHANNEL_" + c])) for c in ("ALL", "PART")})
"""
    channels = (channel("all", "data"), channel("part", "data", distribution="ShardedByS3Key"))
    ended = platform.run(platform.spec({"t.py": script}, channels=channels, instance_count=2))
    assert ended.codes == {"algo-1": 0, "algo-2": 0}, ended.log
    logs = [ended.folder.host(name).log.read_text() for name in ended.codes]
    seen = [eval(log.partition("RESULT ")[2].splitlines()[0]) for log in logs]
    assert [len(row["ALL"]) for row in seen] == [5, 5]
    assert sorted(seen[0]["PART"] + seen[1]["PART"]) == ["0", "1", "2", "3", "4"]
