import inspect
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "serving"))

from tiny_model import (
    CLASSES,
    PREPROCESSING,
    make_artifact,
    random_images,
    register,
    saved_model,
)

from houndsight.data.decode import decode
from houndsight.errors import ArtifactError, DataError
from houndsight.models import unpack as unpacking
from houndsight.models.artifact import ModelArtifact
from houndsight.models.export import graph_agrees

register()


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A saved model that the test may damage."""
    return Path(shutil.copytree(saved_model("openvino"), tmp_path / "model"))


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def photo(tmp_path: Path, size: tuple[int, int] = (300, 200), name: str = "photo.jpg") -> Path:
    pixels = np.random.default_rng(1).integers(0, 256, (size[1] // 20, size[0] // 20, 3))
    image = Image.fromarray(pixels.astype(np.uint8)).resize(size, Image.Resampling.BICUBIC)
    image.save(tmp_path / name, quality=90)
    return tmp_path / name


# -- what is kept ----------------------------------------------------------------------------


def test_comes_back_with_everything_it_had(tmp_path: Path) -> None:
    made = make_artifact()
    assert made.save(tmp_path / "deep" / "model") is None
    found = ModelArtifact.load(tmp_path / "deep" / "model")
    assert found.classes == CLASSES and found.preprocessing == PREPROCESSING
    assert found.temperature == 1.5 and found.fingerprint == "abc" and found.graph is None
    assert found.metrics == {"test": {"top1": 0.9, "nll": None}}
    assert found.versions["torch"] and found.manifest.backbone["licence"]
    images = list(random_images(5))
    np.testing.assert_array_equal(
        found.predict(images).probabilities, made.predict(images).probabilities
    )


def test_graph_and_weights_give_the_same_answers() -> None:
    artifact = ModelArtifact.load(saved_model("openvino"))
    assert artifact.graph == "openvino" and artifact.manifest.graph is not None
    assert artifact.manifest.graph["agreement"] >= 0.995
    images = list(random_images(20, seed=4))
    ours, theirs = artifact.predict(images), artifact.predict(images, backend="torch")
    np.testing.assert_allclose(ours.probabilities, theirs.probabilities, atol=1e-4)


def test_a_graph_runs_without_building_the_pytorch_network() -> None:
    artifact = ModelArtifact.load(saved_model("openvino"))
    artifact.predict(list(random_images(2)))
    assert artifact._classifier is None


def test_a_graph_without_proof_is_not_kept(tmp_path: Path) -> None:
    check = make_artifact().save(tmp_path / "model", graph="openvino", check_images=None)
    assert check is not None and not check.kept and "No validation photos" in check.reason
    assert not (tmp_path / "model" / "openvino").exists()
    assert ModelArtifact.load(tmp_path / "model").graph is None


def test_a_graph_that_disagrees_is_refused_with_its_figures() -> None:
    check = graph_agrees(
        make_artifact(seed=5).classifier,
        saved_model("openvino"),
        "openvino",
        preprocessing=PREPROCESSING,
        check_images=random_images(60),
    )
    assert not check.kept and check.agreement < 0.995
    assert f"{check.agreement:.1%} of 60 validation photos" in check.reason


def test_an_export_that_fails_leaves_a_whole_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("cannot trace this")

    monkeypatch.setattr("houndsight.models.artifact.export_graph", fail)
    check = make_artifact().save(
        tmp_path / "model", graph="openvino", check_images=random_images(2)
    )
    assert check is not None and "cannot trace this" in check.reason
    assert ModelArtifact.load(tmp_path / "model").graph is None


def test_an_unknown_graph_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="'tensorrt'; it is one of openvino, onnx"):
        make_artifact().save(tmp_path / "model", graph="tensorrt")


def test_a_missing_graph_is_named() -> None:
    with pytest.raises(ArtifactError, match="no graph and PyTorch weights, but no openvino graph"):
        ModelArtifact.load(saved_model()).predict(random_images(1), backend="openvino")


# -- where it is found -----------------------------------------------------------------------


def test_is_found_in_a_run_folder(tmp_path: Path) -> None:
    shutil.copytree(saved_model(), tmp_path / "model")
    (tmp_path / "run.json").write_text("{}")
    assert ModelArtifact.load(tmp_path).classes == CLASSES
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(ArtifactError, match="holds no model yet"):
        ModelArtifact.load(tmp_path)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), r"no model\.json in it"),
        (lambda p: p.write_bytes(b""), "not a whole tar.gz"),
        (lambda p: p.write_bytes(b"\x80\x04pickle"), "not a whole tar.gz"),
    ],
)
def test_what_is_no_model_is_said(tmp_path: Path, make: Any, sentence: str) -> None:
    make(tmp_path / "thing")
    with pytest.raises(ArtifactError, match=sentence):
        ModelArtifact.load(tmp_path / "thing")


def test_saving_replaces_an_older_model_and_leaves_nothing_behind(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    make_artifact(seed=1).save(folder)
    (folder / "stale").write_text("")
    make_artifact(seed=2).save(folder)
    assert sorted(p.name for p in folder.iterdir()) == ["model.json", "model.safetensors"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_save_killed_between_its_renames_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(saved_model(), tmp_path / ".model.previous")
    assert ModelArtifact.load(folder).classes == CLASSES
    make_artifact(seed=2).save(folder)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be written"):
        make_artifact().save(tmp_path / "file" / "model")


# -- damaged and foreign ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda f: (f / "model.json").write_text("{"), "is damaged"),
        (lambda f: (f / "model.json").write_text("[" * 200_000), "is damaged|is not"),
        (lambda f: (f / "model.json").write_text("{}"), "not a Houndsight model"),
        (lambda f: edit(f, v=2), "newer than this version reads"),
        (lambda f: edit(f, v="x"), "format version is 'x'"),
        (lambda f: edit(f, classes=[]), "there are no classes"),
        (lambda f: edit(f, classes=[1]), "is damaged"),
        (lambda f: edit(f, temperature=0), "temperature is 0"),
        (lambda f: edit(f, temperature=float("nan")), "is damaged"),
        (lambda f: edit(f, preprocessing={}), "has no 'mean'"),
        (lambda f: edit(f, backbone={"name": "hf-hub:a/b"}), "backbone's name"),
        (lambda f: edit(f, files={"../x": {}}), "not a file of a model"),
        (lambda f: edit(f, files={}), "not among its files"),
        (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda f: os.truncate(f / "model.safetensors", 1000), "bytes instead of"),
        (lambda f: (f / "openvino" / "model.bin").unlink(), "model.bin is missing"),
    ],
)
def test_damage_is_named(copied: Path, damage: Any, sentence: str) -> None:
    damage(copied)
    with pytest.raises(ArtifactError, match=sentence):
        ModelArtifact.load(copied)


def test_one_changed_bit_is_found(copied: Path) -> None:
    path = copied / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="does not match the SHA-256"):
        ModelArtifact.load(copied)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"backbone": {"name": "nobody"}}, "knows no backbone"),
        ({"backbone": {"name": "resnet18"}}, "does not hold the weights"),
        ({"head": {"normalise": "magic"}}, "normalises by 'magic'"),
        ({"head": {}}, "does not hold the weights"),
        ({"classes": [{"name": "a", "original": "a"}]}, "with 1 classes"),
    ],
)
def test_weights_of_another_network_are_named(
    copied: Path, changes: dict[str, Any], sentence: str
) -> None:
    edit(copied, **changes)
    with pytest.raises(ArtifactError, match=sentence):
        ModelArtifact.load(copied).predict(random_images(1), backend="torch")


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_any_model_json_is_read_or_refused_with_a_sentence(
    tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "fuzzed"
    if not folder.exists():
        shutil.copytree(saved_model(), folder)
    record = json.loads((saved_model() / "model.json").read_text())
    anything = st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
        max_leaves=6,
    )
    key = data.draw(st.sampled_from(sorted(record)))
    (folder / "model.json").write_text(json.dumps(record | {key: data.draw(anything)}))
    try:
        ModelArtifact.load(folder)
    except ArtifactError as error:
        assert str(error)


# -- model.tar.gz ----------------------------------------------------------------------------


def test_the_archive_is_the_same_model_and_always_the_same_bytes(tmp_path: Path) -> None:
    artifact = ModelArtifact.load(saved_model("openvino"))
    first = artifact.pack(tmp_path / "model.tar.gz").read_bytes()
    assert artifact.pack(tmp_path / "again.tar.gz").read_bytes() == first
    found = ModelArtifact.load(tmp_path / "model.tar.gz")
    images = list(random_images(3))
    np.testing.assert_array_equal(
        found.predict(images).probabilities, artifact.predict(images).probabilities
    )
    unpacked = found.folder
    assert unpacked is not None and unpacked.exists()
    del found
    assert not unpacked.exists()


def test_a_model_that_was_never_saved_cannot_be_packed(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="call save"):
        make_artifact().pack(tmp_path / "model.tar.gz")


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    """The saved model as an archive, with more members."""
    with tarfile.open(path, "w:gz") as tar:
        for name in ("model.json", "model.safetensors"):
            tar.add(saved_model() / name, name)
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_code_in_an_archive_is_left_out(tmp_path: Path) -> None:
    path = tar_of(
        tmp_path / "m.tar.gz",
        (member("code", tarfile.DIRTYPE), b""),
        (member("code/inference.py"), b"raise SystemExit"),
        (member("./sitecustomize.py"), b"raise SystemExit"),
    )
    folder = ModelArtifact.load(path).folder
    assert folder is not None
    artifact = ModelArtifact.load(path)
    assert artifact.folder is not None
    assert sorted(p.name for p in artifact.folder.iterdir()) == ["model.json", "model.safetensors"]


@pytest.mark.parametrize(
    ("info", "sentence"),
    [
        (member("../evil"), "leads out"),
        (member("/etc/evil"), "leads out"),
        (member("openvino/../../evil"), "leads out"),
        (member("model.bin", tarfile.SYMTYPE, "/etc/passwd"), "link or device"),
        (member("model.bin", tarfile.LNKTYPE, "model.json"), "link or device"),
        (member("model.bin", tarfile.CHRTYPE), "link or device"),
        (member("model.bin", tarfile.FIFOTYPE), "link or device"),
        (member("model.json"), "twice"),
    ],
)
def test_archives_that_lead_elsewhere_are_refused(
    tmp_path: Path, info: tarfile.TarInfo, sentence: str
) -> None:
    path = tar_of(tmp_path / "m.tar.gz", (info, b"x"))
    with pytest.raises(ArtifactError, match=sentence):
        ModelArtifact.load(path)
    assert not (tmp_path.parent / "evil").exists()


def test_an_archive_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tar_of(tmp_path / "m.tar.gz", (member("code/zeros"), bytes(3_000_000)))
    target = tmp_path / "target"
    with pytest.raises(ArtifactError, match="holds more than"):
        unpacking.unpack(path, target, wanted=lambda _: True, max_bytes=4_000_000)
    monkeypatch.setattr(unpacking, "MAX_MEMBERS", 2)
    with pytest.raises(ArtifactError, match="more than 2 files"):
        unpacking.unpack(path, target, wanted=lambda _: True)


def test_a_header_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpacking, "HEADER_ALLOWANCE_BYTES", 1_000_000)
    info = member("model.json")
    info.pax_headers = {"comment": "x" * 3_000_000}
    path = tar_of(tmp_path / "m.tar.gz", (info, b""))
    with pytest.raises(ArtifactError, match="more than its headers say"):
        ModelArtifact.load(path)


def test_every_truncation_of_an_archive_is_noticed(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "m.tar.gz").read_bytes()
    for share in (0.0, 0.001, 0.3, 0.9, 0.999):
        path = tmp_path / "cut.tar.gz"
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(ArtifactError):
            ModelArtifact.load(path)
    path.write_bytes(whole[:-4])
    with pytest.raises(ArtifactError):
        ModelArtifact.load(path)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=2000), st.booleans())
def test_any_bytes_are_no_archive(tmp_path: Path, content: bytes, zipped: bool) -> None:
    import gzip

    path = tmp_path / "bytes.tar.gz"
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(ArtifactError):
        ModelArtifact.load(path)


# -- predicting ------------------------------------------------------------------------------


def test_every_form_of_a_photo_gives_the_same_answer(tmp_path: Path) -> None:
    artifact = ModelArtifact.load(saved_model("openvino"))
    path = photo(tmp_path)
    with Image.open(path) as opened:
        found = artifact.predict([path, str(path), path.read_bytes(), opened])
        assert opened.size == (300, 200)
    assert not found.errors and len(found) == 4
    assert (found.probabilities == found.probabilities[0]).all()
    small = photo(tmp_path, (40, 40), "small.png")
    with Image.open(small) as opened:
        found = artifact.predict([small, np.asarray(opened), opened])
    assert (found.probabilities == found.probabilities[0]).all()


def test_uses_the_pixels_that_training_used(tmp_path: Path) -> None:
    artifact = ModelArtifact.load(saved_model("openvino"))
    path = photo(tmp_path, (1200, 900))
    pixels = decode(path, PREPROCESSING)
    direct = artifact.probabilities(pixels[None], artifact.network())
    np.testing.assert_array_equal(artifact.predict(path).probabilities, direct)


def test_one_photo_is_a_batch_of_one(tmp_path: Path) -> None:
    artifact = ModelArtifact.load(saved_model("openvino"))
    assert artifact.predict(photo(tmp_path)).probabilities.shape == (1, 4)
    assert artifact.predict(random_images(1)[0]).probabilities.shape == (1, 4)
    assert artifact.predict(random_images(3)).probabilities.shape == (3, 4)
    assert artifact.predict([]).probabilities.shape == (0, 4)


def test_batches_do_not_change_the_answers() -> None:
    artifact = ModelArtifact.load(saved_model("openvino"))
    images = random_images(11)
    whole = artifact.predict(images, batch_size=64).probabilities
    np.testing.assert_allclose(
        artifact.predict(images, batch_size=3).probabilities, whole, atol=1e-5
    )


def test_a_bad_photo_is_an_error_in_its_place(tmp_path: Path) -> None:
    artifact = ModelArtifact.load(saved_model("openvino"))
    good = photo(tmp_path)
    bad: list[Any] = [
        tmp_path / "none.jpg",
        b"",
        b"text",
        np.zeros((2, 2)),
        np.zeros((0, 4, 3), "u1"),
    ]
    found = artifact.predict([good, *bad, good], batch_size=2)
    assert sorted(found.errors) == [1, 2, 3, 4, 5]
    assert "does not exist" in found.errors[1] and "float64" in found.errors[4]
    assert np.isnan(found.probabilities[1:6]).all()
    assert (found.probabilities[0] == found.probabilities[6]).all()
    top = found.top(2)
    assert top[1] == [] and len(top[0]) == 2 and top[0][0][1] >= top[0][1][1]


def test_what_is_no_photo_at_all_is_said() -> None:
    with pytest.raises(DataError, match="got int; it takes a path"):
        ModelArtifact.load(saved_model()).predict(3)  # type: ignore[arg-type]


def test_loading_runs_no_code_and_no_torch() -> None:
    code = (
        "import sys; from houndsight.models.artifact import ModelArtifact;"
        f"a = ModelArtifact.load({str(saved_model('openvino'))!r});"
        "import numpy as np; a.predict(np.zeros((32, 32, 3), 'uint8'));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


DYING_SAVE = """
import os, signal, sys
from pathlib import Path
folder, left, tests = Path(sys.argv[1]), [int(sys.argv[2])], sys.argv[3]
sys.path.insert(0, tests)
from tiny_model import make_artifact
rename = Path.rename
def dying(self, target):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
artifact = make_artifact(seed=7)
Path.rename = dying
artifact.save(folder)
"""


def test_a_save_killed_at_any_moment_leaves_an_old_or_a_new_model(tmp_path: Path) -> None:
    tests = Path(inspect.getfile(make_artifact)).parent
    for calls in range(1, 5):
        folder = tmp_path / str(calls) / "model"
        shutil.copytree(saved_model(), folder)
        # A process of its own: one forked after PyTorch has computed may hang.
        command = [sys.executable, "-c", DYING_SAVE, str(folder), str(calls), str(tests)]
        subprocess.run(command, check=False, timeout=120)
        assert ModelArtifact.load(folder).classes == CLASSES
