"""requirements.txt: what the host has, what is installed aside, what cannot be met."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import zipfile
from pathlib import Path

import pytest

from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.container.requirements import read_requirements
from houndsight.jobs.container.requirements.explain import explain
from houndsight.jobs.container.requirements.lines import Line, Requirements, normalised


def wheel(folder: Path, name: str, version: str, *, requires: str = "") -> Path:
    """A package of one module that prints its version."""
    files = {
        f"{name}.py": f"VERSION = {version!r}\n",
        f"{name}-{version}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            + (f"Requires-Dist: {requires}\n" if requires else "")
        ),
        f"{name}-{version}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    record = ""
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest())
        record += f"{path},sha256={digest.decode().rstrip('=')},{len(content)}\n"
    files[f"{name}-{version}.dist-info/RECORD"] = record
    target = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return target


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder that pip takes wheels from, and nothing else."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for version in ("1.0", "1.4", "2.0"):
        wheel(folder, "spaniel", version)
    wheel(folder, "needs_old_numpy", "1.0", requires="numpy<1.5")
    wheel(folder, "needs_spaniel", "1.0", requires="spaniel>=1.4")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


USE = "import spaniel, json; print('RESULT ' + json.dumps(spaniel.VERSION))"


def test_what_is_missing_is_installed_once_and_for_the_job_alone(platform, index):
    files = {"t.py": USE, "requirements.txt": "torch==1.8.0\ntqdm\nneeds_spaniel\nspaniel<2\n"}
    ended = platform.run(platform.spec(files))
    assert ended.said() == "1.4", ended.log
    assert ended.log.count("torch==1.8.0 is left out") == 1
    assert ended.commands[0].forkable is None
    again = platform.run(platform.spec(files))
    assert again.said() == "1.4"
    assert "Requirements are installed already." in again.log
    with pytest.raises(importlib.metadata.PackageNotFoundError):
        importlib.metadata.version("spaniel")


def test_a_script_that_installs_sees_the_same_constraints(platform, index):
    script = """
import os, subprocess, sys
pip = [sys.executable, "-m", "pip", "install", "-q"]
assert subprocess.run([*pip, "numpy==1.19.5"]).returncode != 0
if os.environ["SM_MODEL_DIR"] == "/opt/ml/model":
    subprocess.run([*pip, "spaniel"], check=True)
    import spaniel
print("RESULT 1")
"""
    ended = platform.run(platform.spec({"t.py": script}))
    assert ended.codes == {"algo-1": 0}, ended.log
    assert "numpy==" in ended.log, "pip names the constraint"


# What stands in the file, and what the sentence must hold.
UNMET = {
    "a fixed package": (
        "# pins\nnumpy==1.19.5\n",
        ["requirements.txt line 2: 'numpy==1.19.5' cannot be met", "nearest", "numpy==2"],
    ),
    "Pillow by another name": ("Pillow<6", ["line 1: 'Pillow<6'", "pillow=="]),
    "no such version": (
        "spaniel==1.2",
        ["line 1: 'spaniel==1.2' cannot be met; the nearest version is spaniel==1.4"],
    ),
    "a version too high": ("spaniel>=3", ["nearest version is spaniel==2.0"]),
    "no such package": (
        "nowhere_to_be_found",
        ["'nowhere_to_be_found' cannot be met", "no package"],
    ),
    "a dependency on an old one": (
        "\nneeds_old_numpy",
        ["line 2: 'needs_old_numpy' cannot be met", "numpy<1.5", "of this machine stays"],
    ),
    "two lines against each other": ("spaniel==1.0\nneeds_spaniel", ["'spaniel==1.0'"]),
    "a file outside": ("-r ../../other.txt", ["line 1: '-r ../../other.txt' is no file"]),
    "nonsense": ("spaniel === = 3", ["requirements.txt"]),
}


@pytest.mark.parametrize("kind", UNMET)
def test_what_cannot_be_met_is_said_with_its_line(platform, index, kind):
    text, words = UNMET[kind]
    with pytest.raises(ContainerError) as refused:
        platform.prepare(platform.spec({"t.py": "", "requirements.txt": text}))
    for word in words:
        assert word in str(refused.value)


def test_lines_are_read_as_pip_reads_them(tmp_path):
    (tmp_path / "requirements.txt").write_text(
        "\ufeff# comment\nTorch >= 1.7  # the framework\ntorchvision==0.9.0+cpu\n"
        "smdebug\nsagemaker-not\nalbumentations[extra]==1.0 ; python_version > '3'\n"
        "-r more.txt\n--extra-index-url https://x/simple\ntorch @ https://x/torch.whl\n"
        "timm==0.4 \\\n    --hash=sha256:00\n./local\n"
    )
    (tmp_path / "more.txt").write_text("torch\npandas\n")
    read = read_requirements(tmp_path / "requirements.txt", tmp_path)
    assert [line.name for line in read.lines] == [
        *("sagemaker-not", "albumentations", "pandas", "", "timm", "")
    ]
    assert [line.number for line in read.packages] == [5, 6, 2, 10, 12]
    assert len(read.notes) == 5
    assert "more.txt: torch is left out" in read.notes[3]


def test_names_are_compared_as_pip_compares_them():
    assert normalised("Scikit_Learn") == "scikit-learn"


# The end of what pip said, and what the sentence must hold.
PIP = [
    (
        "WARNING: Retrying after NewConnectionError\n"
        "ERROR: Could not find a version that satisfies the requirement a==9 (from versions: none)"
        "\nERROR: No matching distribution found for a==9",
        "'a==9' cannot be installed: the package index does not answer",
    ),
    ("ERROR: Failed building wheel for a\nerror: x", "'a==9' cannot be built"),
    ("ERROR: something else", "something else"),
    ("", "pip said nothing"),
]


@pytest.mark.parametrize(("output", "sentence"), PIP)
def test_pips_words_become_a_sentence(output, sentence):
    requirements = Requirements((Line("a==9", "requirements.txt", 1),))
    assert sentence in explain(requirements, output)
