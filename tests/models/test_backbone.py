"""Loading backbones: every row builds, every parameter is filled, files say what is wrong."""

from __future__ import annotations

import math
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from houndsight.errors import SettingError, WeightsError
from houndsight.models.architecture import activation_shape, build_parts, expected_shapes
from houndsight.models.backbone import (
    Backbone,
    available_backbones,
    build_backbone,
    load_backbone,
)
from houndsight.models.table import BACKBONES


def _random_state(name: str) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return {key: _random(key, shape) for key, shape in expected_shapes(name).items()}


def _random(key: str, shape: tuple[int, ...]) -> Tensor:
    """Values under which activations neither vanish nor explode."""
    if len(shape) < 2:
        return torch.rand(shape) * 0.5 + (0.5 if key.endswith("running_var") else 0.0)
    return torch.randn(shape) / math.prod(shape[1:]) ** 0.5


@pytest.mark.parametrize("name", BACKBONES)
def test_the_cut_network_computes_what_the_whole_one_does(name: str) -> None:
    import timm

    row = BACKBONES[name]
    size = row.input_size if name == "vit_small" else 64
    extra = {"img_size": size} if name == "vit_small" else {}
    with torch.device("meta"):
        whole = timm.create_model(row.architecture, pretrained=False, num_classes=0, **extra)
    state = _random_state(name)
    whole.load_state_dict(state, strict=False, assign=True)
    backbone, images = build_backbone(name, state), torch.rand(1, 3, size, size)
    with torch.inference_mode():
        activations = backbone.trunk(images)
        torch.testing.assert_close(backbone.stage(activations), whole.eval()(images))
    assert backbone(images).shape == (1, row.feature_dim)
    assert tuple(activations.shape[1:]) == activation_shape(name, size)


def test_the_table_says_where_everything_comes_from() -> None:
    assert next(iter(BACKBONES)) == "resnet50"
    for row in BACKBONES.values():
        for entry in row.entries:
            assert entry.licence and entry.top1_source and entry.files
            assert entry.top1 is None or 50 < entry.top1 < 100
            assert entry.preprocessing.size == row.input_size


def test_a_file_is_loaded_with_or_without_its_classifier(
    resnet18_state: dict[str, Tensor], tmp_path: Path
) -> None:
    whole, trunk_only, half = (tmp_path / f"{n}.pth" for n in ("whole", "trunk", "half"))
    torch.save(resnet18_state, whole)
    bare = {k: v for k, v in resnet18_state.items() if not k.startswith("fc.")}
    torch.save({"state_dict": {f"module.{k}": v for k, v in bare.items()}}, trunk_only)
    torch.save({k: v.half() if v.is_floating_point() else v for k, v in bare.items()}, half)
    loaded = [load_backbone(str(path)) for path in (whole, trunk_only, half)]
    assert [backbone.name for backbone in loaded] == ["resnet18"] * 3
    assert loaded[0].weights_hash == loaded[1].weights_hash != loaded[2].weights_hash
    assert all(p.dtype == torch.float32 for p in loaded[2].parameters())


def test_the_shared_trunk_is_recognised_by_its_shapes(
    shared_resnet50: Path, tmp_path: Path
) -> None:
    unnamed = tmp_path / "mine.safetensors"
    unnamed.symlink_to(shared_resnet50)
    backbone = load_backbone(str(unnamed))
    assert (backbone.name, backbone.feature_dim) == ("resnet50", 2048)


def test_a_saved_model_builds_the_same_backbone(small_backbone: Backbone) -> None:
    again = build_backbone("resnet18", small_backbone.state_dict())
    assert again.weights_hash == small_backbone.weights_hash
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(again(images), small_backbone(images), rtol=0, atol=0)


def test_the_trunk_stays_in_eval_mode(small_backbone: Backbone) -> None:
    small_backbone.train()
    assert not any(module.training for module in small_backbone.trunk.modules())
    assert small_backbone.stage.training
    before = small_backbone.trunk.state_dict()["bn1.running_mean"].clone()
    small_backbone(torch.randn(4, 3, 64, 64))
    assert torch.equal(small_backbone.trunk.state_dict()["bn1.running_mean"], before)


def test_fine_tuning_the_stage_changes_the_hash_but_not_the_trunks(
    small_backbone: Backbone,
) -> None:
    whole, trunk = small_backbone.weights_hash, small_backbone.trunk_hash
    with torch.no_grad():
        next(small_backbone.stage.parameters()).add_(1.0)
    assert small_backbone.weights_hash != whole
    assert small_backbone.trunk_hash == trunk


def test_a_missing_parameter_is_never_left_random(
    resnet18_state: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "resnet18.pth"
    torch.save({k: v for k, v in resnet18_state.items() if k != "layer4.1.bn2.weight"}, path)
    with pytest.raises(WeightsError, match=r"layer4\.1\.bn2\.weight"):
        load_backbone("resnet18", weights=path)


def test_another_networks_file_is_refused_by_its_name(resnet18_file: Path) -> None:
    with pytest.raises(WeightsError, match="It looks like resnet18"):
        load_backbone("resnet50", weights=resnet18_file)


def test_values_that_are_not_finite_are_refused(
    resnet18_state: dict[str, Tensor], tmp_path: Path
) -> None:
    state = {key: value.clone() for key, value in resnet18_state.items()}
    state["conv1.weight"][0, 0, 0, 0] = float("nan")
    save_file(state, tmp_path / "nan.safetensors")
    with pytest.raises(WeightsError, match=r"conv1\.weight holds values that are not finite"):
        load_backbone(str(tmp_path / "nan.safetensors"))


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/nonexistent/never"),))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x80\x04garbage", b"PK\x03\x04"])
def test_a_damaged_file_gets_a_sentence(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"resnet18{suffix}"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="resnet18"):
        load_backbone("resnet18", weights=path)


def test_a_truncated_file_gets_a_sentence(resnet18_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "resnet18.safetensors"
    path.write_bytes(resnet18_file.read_bytes()[:-1000])
    with pytest.raises(WeightsError, match="damaged"):
        load_backbone(str(path))


def test_a_pickle_with_code_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "resnet18.pth"
    path.write_bytes(pickle.dumps({"conv1.weight": _Malicious()}))
    with pytest.raises(WeightsError):
        load_backbone("resnet18", weights=path)
    torch.save({"conv1.weight": _Malicious()}, path)
    with pytest.raises(WeightsError, match="holds more than tensors"):
        load_backbone("resnet18", weights=path)


def test_unknown_names_and_missing_files_get_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there are resnet50, resnet18"):
        load_backbone("resnet49")
    with pytest.raises(WeightsError, match="There is no weights file"):
        load_backbone(str(tmp_path / "missing.pth"))
    with pytest.raises(WeightsError, match="knows no backbone"):
        build_backbone("resnet49", {})


def test_a_transformer_says_which_size_it_takes() -> None:
    backbone = build_backbone("vit_small", _random_state("vit_small"))
    backbone.check_size(224)
    with pytest.raises(SettingError, match="224 px and no other"):
        backbone.check_size(256)


def test_dinov2_position_embeddings_are_resampled() -> None:
    state = _random_state("vit_small")
    state["pos_embed"] = torch.rand(1, 1 + 37 * 37, 384)
    backbone = build_backbone("vit_small", state)
    assert backbone.trunk.state_dict()["pos_embed"].shape == (1, 257, 384)


def test_nothing_is_at_hand_without_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.files", lambda name: [])
    assert available_backbones() == []


def test_build_parts_keeps_timms_names() -> None:
    trunk, stage = build_parts(BACKBONES["efficientnet_lite0"])
    assert "blocks.4.0.conv_pw.weight" in trunk.state_dict()
    assert "blocks.5.0.conv_pw.weight" in stage.state_dict()
