"""The saved model: a folder, or the same packed as `model.tar.gz`.

    model.json          what it is: backbone, classes, preprocessing, temperature, metrics, hashes
    model.safetensors   the weights
    openvino/ or onnx/  the same network as a graph, when it was proven to agree with PyTorch

Nothing in it is code and loading executes nothing from it. Every file is checked against its
SHA-256 before it is used. PyTorch is loaded only when the weights themselves are needed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import uuid
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from houndsight.data.decode import Preprocessing, normalise
from houndsight.data.names import ClassName
from houndsight.errors import ArtifactError, MissingExtraError
from houndsight.models.export import GraphCheck, export_graph, graph_agrees, torch_network
from houndsight.models.graph import GRAPH_FILES, Network, open_graph
from houndsight.models.inputs import ImageLike, as_list, decode_all
from houndsight.models.manifest import MANIFEST, WEIGHTS, FileEntry, Manifest, is_model_file
from houndsight.models.manifest import versions as current_versions
from houndsight.models.predictions import Predictions, softmax
from houndsight.models.storage import find_model, flush, pack, recover, replace_folder
from houndsight.models.unpack import unpack
from houndsight.models.weights import (
    build_classifier,
    describe_backbone,
    describe_head,
    save_weights,
)

if TYPE_CHECKING:
    from houndsight.models.classifier import Classifier

__all__ = ["ModelArtifact"]


class ModelArtifact:
    """A trained classifier with everything that is needed to use it.

    Made from a `classifier` after training and saved; or loaded, and then asked to `predict`.
    """

    def __init__(
        self,
        *,
        classifier: Classifier | None = None,
        classes: Sequence[ClassName] = (),
        preprocessing: Preprocessing | None = None,
        temperature: float = 1.0,
        metrics: Mapping[str, Any] | None = None,
        fingerprint: str = "",
        manifest: Manifest | None = None,
        folder: Path | None = None,
    ) -> None:
        """Describe a model; `manifest` and `folder` are given by `load`.

        Args:
            classifier: the network; its backbone's preprocessing is used unless another is given.
            temperature: logits are divided by it before the softmax.
            metrics: what was measured, by split.
            fingerprint: of the photos it was trained on.
        """
        assert classifier is not None or folder is not None
        if manifest is None:
            assert classifier is not None
            manifest = Manifest(
                backbone=describe_backbone(classifier),
                head=describe_head(classifier),
                classes=tuple(classes),
                preprocessing=preprocessing or classifier.backbone.preprocessing,
                temperature=float(temperature),
                metrics=metrics or {},
                fingerprint=fingerprint,
                versions=current_versions(),
            )
        self.manifest = manifest
        self.folder = folder
        self._classifier = classifier
        self._networks: dict[str, Network] = {}
        self._lock = threading.Lock()

    @property
    def classes(self) -> tuple[ClassName, ...]:
        """The classes, in the order of the probabilities' columns."""
        return self.manifest.classes

    @property
    def preprocessing(self) -> Preprocessing:
        """How a photo becomes what the network takes."""
        return self.manifest.preprocessing

    @property
    def temperature(self) -> float:
        """Logits are divided by it before the softmax."""
        return self.manifest.temperature

    @property
    def metrics(self) -> Mapping[str, Any]:
        """What was measured, by split."""
        return self.manifest.metrics

    @property
    def fingerprint(self) -> str:
        """Of the photos it was trained on."""
        return self.manifest.fingerprint

    @property
    def versions(self) -> Mapping[str, str]:
        """The package versions it was made with."""
        return self.manifest.versions

    @property
    def graph(self) -> str | None:
        """The kind of graph beside the weights: `openvino`, `onnx` or None."""
        return None if self.manifest.graph is None else str(self.manifest.graph["kind"])

    @property
    def digest(self) -> str:
        """What identifies the saved weights: their SHA-256, or "" before they are saved."""
        entry = self.manifest.files.get(WEIGHTS)
        return "" if entry is None else entry.sha256

    @property
    def classifier(self) -> Classifier:
        """The PyTorch network in evaluation mode, built when it is first asked for.

        Raises:
            ArtifactError: the weights do not belong to the network that `model.json` names.
        """
        with self._lock:
            if self._classifier is None:
                assert self.folder is not None
                self._classifier = build_classifier(self.manifest, self.folder)
            return self._classifier

    # -- reading and writing ----------------------------------------------------------------

    @classmethod
    def load(cls, path: str | Path) -> ModelArtifact:
        """The model in a folder, in a run folder's `model/`, or in a `model.tar.gz`.

        Raises:
            ArtifactError: there is none, or it is damaged, truncated, foreign or newer than this
                version; the sentence says which.
        """
        path = Path(path)
        if path.is_file():
            return cls._load_archive(path)
        folder = find_model(path)
        manifest = Manifest.read(folder)
        manifest.check_files(folder)
        return cls(manifest=_with_whole_graph(manifest), folder=folder)

    @classmethod
    def _load_archive(cls, path: Path) -> ModelArtifact:
        unpacked = Path(tempfile.mkdtemp(prefix="houndsight-model-"))
        try:
            unpack(path, unpacked, wanted=is_model_file)
            if not (unpacked / MANIFEST).is_file():
                raise ArtifactError(f"{path} is not a saved model: no {MANIFEST} in it.")
            artifact = cls.load(unpacked)
        except BaseException:
            shutil.rmtree(unpacked, ignore_errors=True)
            raise
        weakref.finalize(artifact, shutil.rmtree, unpacked, ignore_errors=True)
        return artifact

    def save(
        self,
        folder: str | Path,
        *,
        graph: str | None = None,
        check_images: NDArray[np.uint8] | None = None,
    ) -> GraphCheck | None:
        """Write the model to `folder`, replacing one that is there; a crash leaves old or new.

        Args:
            graph: also write `openvino` or `onnx`; kept only if it names the same class as
                PyTorch on 99.5 % of `check_images`.
            check_images: decoded validation photos `(n, size, size, 3)`.

        Returns:
            How the graph compares with PyTorch, with the reason when it was not kept; None when
            no graph was asked for.

        Raises:
            ArtifactError: the folder cannot be written.
        """
        folder = Path(folder)
        if graph is not None and graph not in GRAPH_FILES:
            raise ArtifactError(f"graph is {graph!r}; it is one of {', '.join(GRAPH_FILES)}.")
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            recover(folder)
            aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}")
            aside.mkdir()
        except OSError as error:
            raise ArtifactError(f"{folder} cannot be written: {error}.") from error
        try:
            check = self._write(aside, graph, check_images)
            replace_folder(aside, folder)
        except OSError as error:
            raise ArtifactError(f"{folder} cannot be written: {error}.") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        self.folder = folder
        return check

    def _write(
        self, folder: Path, graph: str | None, check_images: NDArray[np.uint8] | None
    ) -> GraphCheck | None:
        classifier = self.classifier
        save_weights(classifier, folder / WEIGHTS)
        check = None if graph is None else self._write_graph(folder, graph, check_images)
        names = [WEIGHTS]
        record: dict[str, Any] | None = None
        if check is not None and check.kept:
            names += GRAPH_FILES[check.kind]
            record = {"kind": check.kind, "agreement": check.agreement, "images": check.images}
        files = {name: FileEntry.of(folder / name) for name in names}
        self.manifest = replace(self.manifest, files=files, graph=record)
        self.manifest.write(folder)
        flush(folder)
        return check

    def _write_graph(
        self, folder: Path, kind: str, check_images: NDArray[np.uint8] | None
    ) -> GraphCheck:
        if check_images is None or not len(check_images):
            reason = "No validation photos were given to compare the graph with PyTorch."
            return GraphCheck(kind=kind, agreement=0.0, images=0, reason=reason)
        try:
            export_graph(self.classifier, folder, kind, size=self.preprocessing.size)
            check = graph_agrees(
                self.classifier,
                folder,
                kind,
                preprocessing=self.preprocessing,
                check_images=check_images,
            )
        except MissingExtraError as error:
            check = GraphCheck(kind=kind, agreement=0.0, images=0, reason=str(error))
        except Exception as error:  # exporters raise anything; the model is whole without a graph
            reason = f"The network cannot be written as {kind}: {type(error).__name__}: {error}"
            check = GraphCheck(kind=kind, agreement=0.0, images=0, reason=reason[:500])
        if not check.kept:
            shutil.rmtree(folder / kind, ignore_errors=True)
        return check

    def pack(self, tar_gz: str | Path) -> Path:
        """Write the saved model as a `model.tar.gz`; the same model gives the same bytes.

        Raises:
            ArtifactError: it was not saved before, or the file cannot be written.
        """
        tar_gz = Path(tar_gz)
        if self.folder is None:
            raise ArtifactError("This model has no folder yet; call save(folder) before pack().")
        aside = tar_gz.with_name(f".{tar_gz.name}.{os.getpid()}")
        try:
            tar_gz.parent.mkdir(parents=True, exist_ok=True)
            pack(self.folder, [MANIFEST, *self.manifest.files], aside)
            aside.replace(tar_gz)
        except OSError as error:
            raise ArtifactError(f"{tar_gz} cannot be written: {error}.") from error
        finally:
            aside.unlink(missing_ok=True)
        return tar_gz

    # -- predicting -------------------------------------------------------------------------

    def predict(
        self,
        images: ImageLike | Sequence[ImageLike],
        *,
        batch_size: int = 32,
        backend: str = "auto",
        threads: int | None = None,
    ) -> Predictions:
        """Calibrated probabilities of one photo or many.

        A photo that cannot be read is an entry in `errors`; the others are not affected.

        Args:
            images: a path, bytes of an encoded file, pixels uint8 `(h, w, 3)`, a Pillow image,
                or a sequence of these; an array `(n, h, w, 3)` is `n` photos.
            backend: `auto` takes the graph when there is one, else PyTorch; or `openvino`,
                `onnx`, `torch`.
            threads: that decode; by default one a processor core.

        Raises:
            ArtifactError: the model has no such graph.
            DataError: `images` is nothing that could be photos.
        """
        given = as_list(images)
        network = self.network(backend) if given else None
        shape = (len(given), len(self.classes))
        probabilities = np.full(shape, np.nan, dtype=np.float32)
        errors: dict[int, str] = {}
        for rows, pixels, bad in decode_all(
            given,
            self.preprocessing,
            batch_size=batch_size,
            threads=threads or os.cpu_count() or 1,
        ):
            errors |= bad
            if rows and network is not None:
                probabilities[rows] = self.probabilities(pixels, network)
        return Predictions(probabilities=probabilities, classes=self.classes, errors=errors)

    def network(self, backend: str = "auto") -> Network:
        """The network as a function of normalised images; kept for the next call.

        Raises:
            ArtifactError: the model has no such graph.
        """
        kind = (self.graph or "torch") if backend == "auto" else backend
        if kind not in ("torch", self.graph):
            have = "no graph" if self.graph is None else f"an {self.graph} graph"
            raise ArtifactError(f"The model has {have} and PyTorch weights, but no {kind} graph.")
        if kind not in self._networks:
            self._networks[kind] = self._open(kind, backend)
        return self._networks[kind]

    def _open(self, kind: str, backend: str) -> Network:
        if kind == "torch":
            return torch_network(self.classifier)
        assert self.folder is not None
        try:
            return open_graph(self.folder, kind)
        except (MissingExtraError, ArtifactError):
            if backend != "auto":
                raise
            return torch_network(self.classifier)

    def probabilities(
        self, batch: NDArray[np.uint8] | NDArray[np.float32], network: Network
    ) -> NDArray[np.float32]:
        """Calibrated probabilities `(n, classes)` of a decoded batch.

        Args:
            batch: uint8 `(n, size, size, 3)`, or normalised float32 `(n, 3, size, size)`.
        """
        if not len(batch):
            return np.empty((0, len(self.classes)), np.float32)
        images = normalise(batch, self.preprocessing) if batch.dtype == np.uint8 else batch
        return softmax(network(np.asarray(images, dtype=np.float32)), self.temperature)


def _with_whole_graph(manifest: Manifest) -> Manifest:
    """The manifest, without a graph whose files it does not list."""
    if manifest.graph is None:
        return manifest
    needed = GRAPH_FILES.get(str(manifest.graph.get("kind")), ("",))
    return manifest if all(n in manifest.files for n in needed) else replace(manifest, graph=None)
