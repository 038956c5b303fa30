"""Runtimes agree with PyTorch in float32, batch by batch and photo by photo."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from houndsight.data.decode import Preprocessing, normalise
from houndsight.data.folder import Split
from houndsight.errors import DataError, HoundsightError
from houndsight.models.backbone import Backbone, load_backbone
from houndsight.models.features import FeatureCache
from houndsight.models.runtime import compile_trunk, measure_throughput
from houndsight.models.trunk import Cut


@pytest.fixture(scope="module")
def frozen(resnet18_file: Path) -> Backbone:
    """One backbone for the whole file, compiled once a cut; tests leave it as it is."""
    backbone = load_backbone(str(resnet18_file))
    backbone.preprocessing = Preprocessing(
        size=64, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    return backbone


def _pixels(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), np.uint8)


@pytest.mark.parametrize("runtime", ["openvino", "torch"])
@pytest.mark.parametrize("cut", ["features", "boundary"])
def test_a_runtime_agrees_with_pytorch(frozen: Backbone, runtime: Any, cut: Cut) -> None:
    trunk = compile_trunk(frozen, cut, runtime)
    pixels = _pixels(2 * trunk.batch_size + 1)
    images = torch.from_numpy(normalise(pixels, frozen.preprocessing))
    with torch.inference_mode():
        expected = (frozen if cut == "features" else frozen.trunk)(images).numpy()
    found = trunk(pixels)
    # bf16, where the CPU has it, keeps 8 bits.
    tolerance = 0.05 if "bf16" in trunk.description else 1e-4
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_openvino_gives_a_photo_the_same_bits_in_any_place(frozen: Backbone) -> None:
    trunk = compile_trunk(frozen, runtime="openvino")
    pixels = _pixels(11)
    whole = trunk(pixels)
    np.testing.assert_array_equal(trunk(pixels[::-1])[::-1], whole)
    for number in (0, 6, 10):
        np.testing.assert_array_equal(trunk(pixels[number : number + 1])[0], whole[number])


def test_a_graph_is_kept_and_a_damaged_one_made_again(
    frozen: Backbone, isolated_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from houndsight.models import converted

    made, convert = [], converted.to_openvino

    def counted(*args: Any, **options: Any) -> Any:
        made.append(options)
        return convert(*args, **options)

    monkeypatch.setattr(converted, "to_openvino", counted)
    converted.converted(frozen.trunk, "trunk", size=64, batch_size=2)
    again = converted.converted(frozen.trunk, "trunk", size=64, batch_size=2)
    assert len(made) == 1 and list(again.output(0).shape) == [2, 256, 4, 4]
    for file in (isolated_home / "cache" / "graphs").rglob("graph.xml"):
        file.write_bytes(b"torn")
    converted.converted(frozen.trunk, "trunk", size=64, batch_size=2)
    assert len(made) == 2


def test_stream_keeps_order_and_keys(frozen: Backbone) -> None:
    trunk = compile_trunk(frozen, runtime="openvino")
    batches = [(f"batch {n}", _pixels(1 + n % trunk.batch_size)) for n in range(9)]
    results = list(trunk.stream(iter(batches)))
    assert [key for key, _ in results] == [key for key, _ in batches]
    assert [len(outputs) for _, outputs in results] == [len(images) for _, images in batches]
    np.testing.assert_array_equal(results[4][1], trunk(batches[4][1]))


def test_a_stream_that_is_left_harms_none_after_it(resnet18_file: Path) -> None:
    slow = load_backbone(str(resnet18_file))
    slow.preprocessing = Preprocessing(size=256, mean=(0.5,) * 3, std=(0.2,) * 3)
    trunk = compile_trunk(slow, runtime="openvino")
    pixels = _pixels(6 * trunk.batch_size, 256)
    whole = trunk(pixels)
    batches = [(start, pixels[start : start + 4]) for start in range(0, len(pixels), 4)]
    for _ in range(3):
        left = trunk.stream(batches)
        next(left)
        left.close()
        np.testing.assert_array_equal(trunk(pixels), whole)
    kept = trunk.stream(batches)  # never closed, as by somebody who forgets
    next(kept)
    np.testing.assert_array_equal(trunk(pixels), whole)


def test_it_is_compiled_once_and_again_after_fine_tuning(small_backbone: Backbone) -> None:
    first = compile_trunk(small_backbone, runtime="torch")
    assert compile_trunk(small_backbone, runtime="torch") is first
    with torch.no_grad():
        next(small_backbone.stage.parameters()).mul_(2.0)
    assert compile_trunk(small_backbone, runtime="torch") is not first


def test_without_openvino_pytorch_runs_and_says_so(
    small_backbone: Backbone,
    hashed_photos: Callable[..., Split],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "houndsight.models.openvino_trunk":
            raise ImportError("No module named 'openvino'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    found = FeatureCache(tmp_path).features(small_backbone, hashed_photos({"a": 2, "b": 2}))
    assert found.valid.all()
    assert [finding.rule for finding in found.findings] == ["SlowRuntime"]
    assert "No module named 'openvino'" in found.findings[0].title
    with pytest.raises(HoundsightError, match=r"models\.runtime=torch"):
        compile_trunk(small_backbone, runtime="openvino")


def test_throughput_is_measured_with_decoding(
    small_backbone: Backbone, hashed_photos: Callable[..., Split]
) -> None:
    split = hashed_photos({"red": 20, "blue": 20})
    assert measure_throughput(small_backbone, split, seconds=0.2, runtime="torch") > 0
    for path in split.paths():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="None of 40 photos"):
        measure_throughput(small_backbone, split, seconds=0.2, runtime="torch")
