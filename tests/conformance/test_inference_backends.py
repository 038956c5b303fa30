"""What every inference backend must do. A new one in `BACKENDS` is examined without a change here.

A backend of another package is examined by adding it to `EXAMINED`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny_model import CLASSES, make_artifact, random_images, saved_model

from houndsight.data.decode import normalise
from houndsight.errors import ArtifactError
from houndsight.models.artifact import ModelArtifact
from houndsight.serving.backends import BACKENDS, InferenceBackend, load_backend

EXAMINED = [*BACKENDS.values()]

pytestmark = pytest.mark.parametrize("backend_class", EXAMINED, ids=lambda cls: cls.name)


def graph_of(name: str) -> str | None:
    return name if name in ("openvino", "onnx") else None


def loaded(backend_class: type[InferenceBackend]) -> InferenceBackend:
    if backend_class.name == "onnx":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("onnxscript")
    backend = backend_class(threads=1)
    backend.load(ModelArtifact.load(saved_model(graph_of(backend_class.name))))
    return backend


def expected(images: np.ndarray) -> np.ndarray:
    artifact = make_artifact()
    return artifact.probabilities(images, artifact.network("torch"))


def test_agrees_with_pytorch(backend_class: type[InferenceBackend]) -> None:
    images = random_images(7)
    found = loaded(backend_class).predict(images)
    assert found.shape == (7, len(CLASSES)) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected(images), atol=1e-4)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-5)


def test_takes_normalised_images_too(backend_class: type[InferenceBackend]) -> None:
    images, backend = random_images(3), loaded(backend_class)
    prepared = normalise(images, make_artifact().preprocessing)
    np.testing.assert_allclose(backend.predict(prepared), backend.predict(images), atol=1e-6)


def test_takes_batches_of_any_size(backend_class: type[InferenceBackend]) -> None:
    images, backend = random_images(9), loaded(backend_class)
    whole = backend.predict(images)
    for size in (1, 2, 5, 0):
        part = backend.predict(images[:size])
        assert part.shape == (size, len(CLASSES)) and part.dtype == np.float32
        np.testing.assert_allclose(part, whole[:size], atol=1e-5)


def test_a_row_does_not_depend_on_its_neighbours(backend_class: type[InferenceBackend]) -> None:
    images, backend = random_images(4), loaded(backend_class)
    others = random_images(4, seed=9)
    others[2] = images[0]
    np.testing.assert_allclose(backend.predict(others)[2], backend.predict(images)[0], atol=1e-5)


def test_leaves_the_batch_alone_and_repeats_itself(backend_class: type[InferenceBackend]) -> None:
    images, backend = random_images(4), loaded(backend_class)
    before = images.copy()
    first = backend.predict(images)
    kept = first.copy()
    backend.predict(random_images(4, seed=3))
    np.testing.assert_array_equal(images, before)
    np.testing.assert_array_equal(first, kept)
    np.testing.assert_array_equal(backend.predict(images), kept)


def test_predicts_from_many_threads(backend_class: type[InferenceBackend]) -> None:
    backend = loaded(backend_class)
    batches = [random_images(3, seed=seed) for seed in range(12)]
    alone = [backend.predict(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(backend.predict, batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_refuses_a_model_it_cannot_run(backend_class: type[InferenceBackend]) -> None:
    if backend_class.name == "torch":
        pytest.skip("every model has weights")
    with pytest.raises(ArtifactError, match=f"no {backend_class.name} graph"):
        backend_class().load(ModelArtifact.load(saved_model()))


def test_is_found_by_its_name(backend_class: type[InferenceBackend]) -> None:
    loaded(backend_class)
    artifact = ModelArtifact.load(saved_model(graph_of(backend_class.name)))
    assert isinstance(load_backend(artifact, backend_class.name, threads=1), backend_class)
    assert load_backend(artifact).name == backend_class.name
