import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import httpx
import numpy as np
import pytest
from scipy.io import savemat

from houndsight.config import cache_home
from houndsight.data import downloads, published_splits
from houndsight.data.catalogue import PUBLIC_SETS, PublicFile, PublicSet, fetch_dataset
from houndsight.data.flowers import FLOWERS
from houndsight.data.folder import ImageFolder
from houndsight.errors import DataError, NetworkError


def tar(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return content.getvalue()


def mat(**values: object) -> bytes:
    content = io.BytesIO()
    savemat(content, values)
    return content.getvalue()


def cells(*texts: str) -> np.ndarray:
    array = np.empty((len(texts), 1), object)
    array[:, 0] = texts
    return array


def small_set(
    name: str, files: Mapping[str, bytes]
) -> tuple[dict[str, PublicSet], httpx.MockTransport]:
    """A set with the real one's layout and small files, and a server that has them."""
    real = PUBLIC_SETS[name]
    assert [file.name for file in real.files] == list(files)
    row = PublicSet(
        name=name,
        title=real.title,
        homepage=real.homepage,
        licence=real.licence,
        photos=4,
        classes=2,
        files=tuple(
            PublicFile(real.files[i].url, len(content), hashlib.sha256(content).hexdigest())
            for i, content in enumerate(files.values())
        ),
        rows=real.rows,
    )

    def serve(request: httpx.Request) -> httpx.Response:
        content = files[request.url.path.rsplit("/", 1)[-1]]
        return httpx.Response(200, stream=httpx.ByteStream(content))

    return {name: row}, httpx.MockTransport(serve)


def dogs() -> dict[str, bytes]:
    breeds = ("n02085620-Chihuahua", "n02087046-toy_terrier")
    names = [f"{breed}/{breed}_{n}.jpg" for breed in breeds for n in range(2)]
    return {
        "images.tar": tar({f"Images/{name}": b"photo" for name in names}),
        "lists.tar": tar(
            {
                "train_list.mat": mat(file_list=cells(*names[::2])),
                "test_list.mat": mat(file_list=cells(*names[1::2])),
            }
        ),
    }


def flowers() -> dict[str, bytes]:
    return {
        "102flowers.tgz": tar({f"jpg/image_{n:05d}.jpg": b"" for n in range(1, 7)}, "w:gz"),
        "imagelabels.mat": mat(labels=np.array([[77, 77, 77, 1, 1, 1]])),
        "setid.mat": mat(trnid=[[1, 4]], valid=[[2, 5]], tstid=[[3, 6]]),
    }


def pets() -> dict[str, bytes]:
    listed = {
        "trainval.txt": "Abyssinian_1 1 1 1\ngreat_pyrenees_2 16 2 11\n",
        "test.txt": "Abyssinian_3 1 1 1\n",
    }
    names = ("Abyssinian_1", "great_pyrenees_2", "Abyssinian_3")
    return {
        "images.tar.gz": tar({f"images/{name}.jpg": b"" for name in names}, "w:gz"),
        "annotations.tar.gz": tar(
            {f"annotations/{name}": f"#comment\n{text}".encode() for name, text in listed.items()},
            "w:gz",
        ),
    }


@pytest.mark.parametrize(
    ("name", "files", "classes", "sizes"),
    [
        ("dogs", dogs(), ["Chihuahua", "toy terrier"], {"train": 2, "test": 2}),
        (
            "flowers",
            flowers(),
            ["passion flower", "pink primrose"],
            {"train": 2, "valid": 2, "test": 2},
        ),
        ("pets", pets(), ["Abyssinian", "great pyrenees"], {"train": 2, "test": 1}),
    ],
)
def test_a_set_is_fetched_unpacked_and_labelled(
    name: str, files: dict[str, bytes], classes: list[str], sizes: dict[str, int]
) -> None:
    catalogue, server = small_set(name, files)
    path = fetch_dataset(name, catalogue=catalogue, transport=server)
    folder = ImageFolder.open(path)
    assert folder.split_sizes == sizes
    assert sorted(c.name for c in folder.classes) == classes
    assert folder.findings == ()

    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError("fetched again")

    assert fetch_dataset(name, catalogue=catalogue, transport=httpx.MockTransport(never)) == path


def test_without_network_the_sentence_says_where_to_put_the_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(downloads.time, "sleep", lambda _: None)

    def down(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no route to host")

    catalogue, _ = small_set("pets", pets())
    with pytest.raises(NetworkError, match="Oxford-IIIT Pet could not be fetched") as raised:
        fetch_dataset("pets", catalogue=catalogue, transport=httpx.MockTransport(down))
    target = cache_home() / "downloads/pets/images.tar.gz"
    assert f"put it at {target} and run again" in str(raised.value)
    for name, content in pets().items():
        (target.parent / name).write_bytes(content)
    folder = fetch_dataset("pets", catalogue=catalogue, transport=httpx.MockTransport(down))
    assert len(ImageFolder.open(folder)) == 3


def test_a_file_that_is_another_is_refused() -> None:
    catalogue, _ = small_set("dogs", dogs())
    _, server = small_set("dogs", {**dogs(), "images.tar": tar({"evil.jpg": b""})})
    with pytest.raises(NetworkError, match=r"images\.tar should have"):
        fetch_dataset("dogs", catalogue=catalogue, transport=server)
    assert not (cache_home() / "datasets/dogs").exists()


def test_the_sets_are_named_and_their_facts_complete() -> None:
    with pytest.raises(DataError, match="no public set 'cats'; there are dogs, flowers, pets"):
        fetch_dataset("cats")
    for name, row in PUBLIC_SETS.items():
        assert row.name == name
        assert row.licence
        assert row.rows is getattr(published_splits, name)
        for file in row.files:
            assert len(file.sha256) == 64
            assert file.size_bytes > 0
    assert len(FLOWERS) == len(set(FLOWERS)) == 102


def test_a_list_that_lacks_its_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "annotations.tar.gz").write_bytes(tar({"other.txt": b""}, "w:gz"))
    with pytest.raises(DataError, match=r"has no trainval\.txt"):
        list(published_splits.pets({"annotations.tar.gz": tmp_path / "annotations.tar.gz"}))
