"""`model.json`: what a saved model is, in a form that anyone can read and nothing executes."""

from __future__ import annotations

import hashlib
import json
import math
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from houndsight.data.decode import Preprocessing
from houndsight.data.names import ClassName
from houndsight.errors import ArtifactError, DataError

__all__ = ["MANIFEST", "WEIGHTS", "FileEntry", "Manifest", "versions"]

FORMAT = "houndsight model"
FORMAT_VERSION = 1
MANIFEST = "model.json"
WEIGHTS = "model.safetensors"
MAX_BYTES = 64_000_000
"""Room for a million class names; a `model.json` larger than this is not one."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
_FILE = re.compile(r"(model\.safetensors|(openvino|onnx)/[a-z0-9_.]+)")


@dataclass(frozen=True)
class FileEntry:
    """What a file of the model must be: its length and SHA-256."""

    size_bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> FileEntry:
        """The entry for a file as it is now."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return cls(path.stat().st_size, digest)


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """Everything about a saved model except its weights."""

    backbone: Mapping[str, Any]
    """`name`, `weights_hash`, and the `licence` and `source` of the pretrained weights."""
    head: Mapping[str, Any]
    """What the head is made with, such as `normalise`."""
    classes: tuple[ClassName, ...]
    preprocessing: Preprocessing
    temperature: float
    metrics: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""
    """Of the photos it was trained on."""
    versions: Mapping[str, str] = field(default_factory=dict)
    graph: Mapping[str, Any] | None = None
    """`kind`, `agreement` with PyTorch and `images` that was measured on; None without a graph."""
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    created: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def write(self, folder: Path) -> None:
        """Write `model.json` into `folder`."""
        record = {
            "format": FORMAT,
            "v": FORMAT_VERSION,
            "created": self.created,
            "backbone": dict(self.backbone),
            "head": dict(self.head),
            "classes": [asdict(c) for c in self.classes],
            "preprocessing": self.preprocessing.to_json(),
            "temperature": self.temperature,
            "metrics": _finite(self.metrics),
            "fingerprint": self.fingerprint,
            "versions": dict(self.versions),
            "graph": None if self.graph is None else dict(self.graph),
            "files": {name: asdict(entry) for name, entry in self.files.items()},
        }
        text = json.dumps(record, indent=2, ensure_ascii=False, allow_nan=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """The manifest in `folder`.

        Raises:
            ArtifactError: there is none, it is damaged or foreign, or a newer version wrote it.
        """
        path = folder / MANIFEST
        record = _read_record(path)
        try:
            return cls._from_record(record)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, DataError) as error:
            raise ArtifactError(f"{path} is damaged: {_said(error)}.") from error

    @classmethod
    def _from_record(cls, record: Mapping[str, Any]) -> Manifest:
        backbone, temperature = dict(record["backbone"]), float(record["temperature"])
        if not _NAME.fullmatch(backbone["name"]):
            raise ValueError(f"the backbone's name is {backbone['name']!r}")
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"the temperature is {temperature}, not a positive number")
        classes = tuple(ClassName(str(c["name"]), str(c["original"])) for c in record["classes"])
        if not classes:
            raise ValueError("there are no classes")
        files = {name: _entry(name, entry) for name, entry in dict(record["files"]).items()}
        if WEIGHTS not in files:
            raise ValueError(f"{WEIGHTS} is not among its files")
        graph = record.get("graph")
        return cls(
            backbone=backbone,
            head=dict(record["head"]),
            classes=classes,
            preprocessing=Preprocessing.from_json(record["preprocessing"]),
            temperature=temperature,
            metrics=dict(record.get("metrics", {})),
            fingerprint=str(record.get("fingerprint", "")),
            versions={str(k): str(v) for k, v in dict(record.get("versions", {})).items()},
            graph=None if graph is None else dict(graph),
            files=files,
            created=str(record.get("created", "")),
        )

    def check_files(self, folder: Path) -> None:
        """Compare every file with its length and hash.

        Raises:
            ArtifactError: one is missing, truncated or another.
        """
        for name, expected in self.files.items():
            path = folder / name
            if path.is_symlink() or not path.is_file():
                raise ArtifactError(f"{folder} is not whole: {name} is missing; copy it again.")
            found = FileEntry.of(path)
            if found.size_bytes != expected.size_bytes:
                raise ArtifactError(
                    f"{path} has {found.size_bytes:,} bytes instead of {expected.size_bytes:,}; "
                    "it is truncated or another model's, copy it again."
                )
            if found.sha256 != expected.sha256:
                raise ArtifactError(
                    f"{path} does not match the SHA-256 in {MANIFEST}; "
                    "it is damaged or another model's, copy it again."
                )


def versions(names: Iterable[str] = ("houndsight", "torch", "timm", "pillow")) -> dict[str, str]:
    """The versions of the packages that a result depends on, and of Python."""
    found = {"python": platform.python_version()}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def is_model_file(name: str) -> bool:
    """Whether a file of that relative path can belong to a model."""
    return name == MANIFEST or _FILE.fullmatch(name) is not None


def _read_record(path: Path) -> Mapping[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ArtifactError(f"{path} has more than {MAX_BYTES:,} bytes; not a saved model.")
        record = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise ArtifactError(f"{path.parent} is not a saved model: no {MANIFEST} in it.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is damaged: {_said(error)}.") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ArtifactError(f"{path} is not a Houndsight model's.")
    version = record.get("v")
    if not isinstance(version, int) or version < 1:
        raise ArtifactError(f"{path} is damaged: its format version is {version!r}.")
    if version > FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format {version}, newer than this version reads ({FORMAT_VERSION}); "
            "upgrade houndsight."
        )
    return record


def _entry(name: str, entry: Mapping[str, Any]) -> FileEntry:
    if not _FILE.fullmatch(name):
        raise ValueError(f"{name!r} is not a file of a model")
    return FileEntry(int(entry["size_bytes"]), str(entry["sha256"]))


def _finite(value: Any) -> Any:
    """`value` with numbers that JSON does not have as None."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _said(error: BaseException) -> str:
    if isinstance(error, KeyError):
        return f"{error.args[0]} is missing"
    return (str(error) or type(error).__name__).rstrip(".")
