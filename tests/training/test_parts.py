"""The tricks of the recipe, each on its own."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toy_classifier import toy_classifier, toy_recipe

from houndsight.training.ema import WeightAverage, averaging_decay
from houndsight.training.heads.balance import BALANCES
from houndsight.training.losses import ClassificationLoss, class_weights, logit_offsets
from houndsight.training.mix import Mixer, cut_box, cutmix, mixup
from houndsight.training.optimizers import (
    blocks,
    build_optimizer,
    freeze,
    parameter_groups,
    train_mode,
)
from houndsight.training.precision import Precision, choose_precision
from houndsight.training.recipe import Recipe
from houndsight.training.schedule import cosine_with_warmup, set_learning_rates

# -- recipe ---------------------------------------------------------------------------------


def test_every_field_of_the_recipe_is_explained() -> None:
    assert all(len(field.help) > 20 for field in Recipe.describe())


def test_the_recipe_and_the_head_solver_know_the_same_treatments() -> None:
    balance = next(field for field in Recipe.describe() if field.name == "balance")
    assert balance.choices is not None and set(balance.choices) == set(BALANCES)


# -- schedule -------------------------------------------------------------------------------


def test_the_rate_rises_to_its_peak_and_falls_to_nearly_nothing() -> None:
    factors = [cosine_with_warmup(step, 100, 0.1) for step in range(100)]
    assert factors[:10] == sorted(factors[:10]) and factors[10] == 1.0
    assert factors[10:] == sorted(factors[10:], reverse=True)
    assert 0 < factors[-1] < 0.001 and 0 < factors[0] < 0.2
    assert factors[55] == pytest.approx(0.5)


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_one_step_is_enough_for_a_schedule(share: float) -> None:
    assert 0 < cosine_with_warmup(0, 1, share) <= 1


def test_rates_are_shares_of_each_groups_peak() -> None:
    optimizer = build_optimizer(toy_classifier(), toy_recipe())
    peaks = [group["peak_rate"] for group in optimizer.param_groups]
    assert set_learning_rates(optimizer, 0.5) == tuple(peak / 2 for peak in peaks)


# -- parameter groups -----------------------------------------------------------------------


def test_lower_blocks_learn_slower_and_vectors_do_not_decay() -> None:
    classifier = toy_classifier()
    recipe = toy_recipe(learning_rate=1.0, head_learning_rate=3.0, layer_decay=0.5)
    freeze(classifier, recipe)
    groups = {group["name"]: group for group in parameter_groups(classifier, recipe)}
    assert groups["head"]["lr"] == 3.0
    assert groups["block 2"]["lr"] == 1.0 and groups["block 1"]["lr"] == 0.5
    assert groups["block 1"]["weight_decay"] == recipe.weight_decay
    assert groups["block 1 (vectors)"]["weight_decay"] == 0.0
    assert all(p.ndim <= 1 for p in groups["block 2 (vectors)"]["params"])


@pytest.mark.parametrize("trainable", ["head", "stage", "all"])
def test_every_trained_parameter_is_in_exactly_one_group(trainable: str) -> None:
    classifier, recipe = toy_classifier(), toy_recipe(trainable=trainable)
    freeze(classifier, recipe)
    grouped = [id(p) for g in parameter_groups(classifier, recipe) for p in g["params"]]
    wanted = {id(p) for p in classifier.parameters() if p.requires_grad}
    assert len(grouped) == len(set(grouped)) and set(grouped) == wanted
    trunk = classifier.backbone.trunk
    assert all(p.requires_grad == (trainable == "all") for p in trunk.parameters())


def test_blocks_look_into_containers_and_keep_loose_parameters() -> None:
    class Stage(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1))
            self.blocks = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1))
            self.norm = nn.LayerNorm(1)

    assert [len(block) for block in blocks(Stage())] == [1, 2, 2, 2]
    assert len(blocks(nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(1, 1)))))) == 1


@pytest.mark.parametrize(("batch_norm", "updates"), [("frozen", False), ("updated", True)])
def test_batch_norm_of_the_trunk_never_updates(batch_norm: str, updates: bool) -> None:
    classifier, recipe = toy_classifier(), toy_recipe(trainable="all", batch_norm=batch_norm)
    train_mode(classifier, recipe)
    norms = {n: m for n, m in classifier.named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert {name: norm.training for name, norm in norms.items()} == {
        name: updates and "stage" in name for name in norms
    }
    assert classifier.backbone.stage.layer[0].dropout.training


# -- loss -----------------------------------------------------------------------------------


def test_the_plain_loss_is_pytorchs() -> None:
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    loss = ClassificationLoss(label_smoothing=0.1)(logits, labels)
    torch.testing.assert_close(loss, F.cross_entropy(logits, labels, label_smoothing=0.1))


def test_class_weights_have_a_mean_of_one_over_the_photos() -> None:
    counts = torch.tensor([90, 9, 1, 0])
    weights = class_weights(counts, 1.0)
    assert (weights * counts).sum() / counts.sum() == pytest.approx(1.0)
    assert weights[1] / weights[0] == pytest.approx(10.0)
    assert torch.equal(class_weights(counts, 0.0), torch.ones(4))


def test_logit_adjustment_demands_more_of_frequent_classes() -> None:
    counts = torch.tensor([90, 10])
    torch.testing.assert_close(logit_offsets(counts, 1.0), torch.tensor([0.9, 0.1]).log())
    labels = torch.tensor([0] * 9 + [1])
    loss = ClassificationLoss.of(toy_recipe(balance="logit_adjustment"), labels, 2)
    # With equal logits the adjusted model already predicts the class frequencies.
    smoothed = 0.95 * math.log(10) + 0.05 * math.log(10 / 9)
    assert loss(torch.zeros(1, 2), torch.tensor([1])).item() == pytest.approx(smoothed)


def test_the_mean_is_over_photos_whatever_their_weights() -> None:
    logits, labels = torch.randn(8, 2), torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    loss = ClassificationLoss(weights=torch.tensor([0.5, 3.0]))
    halves = (loss(logits[:4], labels[:4]) + loss(logits[4:], labels[4:])) / 2
    torch.testing.assert_close(loss(logits, labels), halves)


# -- mixing ---------------------------------------------------------------------------------


def test_mixup_blends_inputs_and_targets_alike() -> None:
    inputs, targets = torch.tensor([[0.0], [1.0]]), torch.eye(2)
    mixed, soft = mixup(inputs, targets, torch.tensor([1, 0]), 0.7)
    torch.testing.assert_close(mixed, torch.tensor([[0.3], [0.7]]))
    torch.testing.assert_close(soft, torch.tensor([[0.7, 0.3], [0.3, 0.7]]))


def test_cutmix_pastes_a_box_and_blends_targets_by_its_area() -> None:
    inputs = torch.stack([torch.zeros(3, 8, 8), torch.ones(3, 8, 8)])
    box = cut_box(8, 8, 0.75, (0.5, 0.5))
    pasted, soft = cutmix(inputs, torch.eye(2), torch.tensor([1, 0]), box)
    assert pasted[0].mean() == pytest.approx(0.25) and soft[0].tolist() == [0.75, 0.25]
    assert (inputs[0] == 0).all()


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.999, 0.5), (0.3, 0.999)])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_cut_box_stays_inside(centre: tuple[float, float], share: float) -> None:
    rows, columns = cut_box(14, 10, share, centre)
    assert 0 <= rows.start <= rows.stop <= 14 and 0 <= columns.start <= columns.stop <= 10


def test_a_mixer_that_is_off_changes_nothing_and_one_that_is_on_keeps_sums() -> None:
    inputs, labels = torch.randn(6, 3, 4, 4), torch.arange(6) % 3
    off = Mixer(0.0, 0.0, 3)(inputs, labels, np.random.default_rng(0))
    assert off[0] is inputs and off[1] is labels
    mixer = Mixer(0.5, 1.0, 3)
    for seed in range(20):
        _, soft = mixer(inputs, labels, np.random.default_rng(seed))
        torch.testing.assert_close(soft.sum(1), torch.ones(6))
    again = [mixer(inputs, labels, np.random.default_rng(3))[0] for _ in range(2)]
    assert torch.equal(*again)


# -- moving average -------------------------------------------------------------------------


def test_the_average_follows_the_formula_and_puts_the_weights_back() -> None:
    weight, count = torch.zeros(2), torch.tensor(0)
    average = WeightAverage({"weight": weight, "count": count}, decay=0.9)
    expected = torch.zeros(2)
    for step in range(1, 40):
        weight += 1.0
        count += 1
        average.update(step)
        keep = averaging_decay(0.9, step)
        expected = keep * expected + (1 - keep) * weight
    with average.applied():
        torch.testing.assert_close(weight, expected)
        assert count == 39
    assert weight.tolist() == [39.0, 39.0]
    assert averaging_decay(0.9, 1) == pytest.approx(2 / 11) and averaging_decay(0.9, 10**6) == 0.9


def test_without_decay_the_average_is_the_weights_and_holds_nothing() -> None:
    weight = torch.ones(2)
    average = WeightAverage({"weight": weight}, decay=0.0)
    average.update(1)
    with average.applied():
        assert weight.tolist() == [1.0, 1.0]
    assert average.state() == {}


# -- precision ------------------------------------------------------------------------------


def test_auto_on_a_cpu_goes_by_its_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cpu")
    for found, name in (({"amx_bf16": True}, "bf16"), ({"avx512_bf16": False}, "fp32")):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert choose_precision("auto", device).name == name


def test_autocast_computes_in_the_asked_arithmetic() -> None:
    device = torch.device("cpu")
    matrix = torch.ones(2, 2)
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with Precision(name, device).autocast():
            assert (matrix @ matrix).dtype == dtype
    assert not Precision("bf16", device).scaler().is_enabled()
