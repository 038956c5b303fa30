from pathlib import Path

import numpy as np
import pytest
import torch
from toy_classifier import (
    toy_activations,
    toy_batches,
    toy_classifier,
    toy_recipe,
    train_toy,
    weights_digest,
)

from houndsight import events
from houndsight.errors import RunError, SettingError
from houndsight.training import checkpoint
from houndsight.training.batches import ActivationBatches
from houndsight.training.evaluate import evaluate
from houndsight.training.trainer import Trainer


def test_learns_a_separable_problem_and_keeps_the_best_weights(tmp_path: Path) -> None:
    recipe = toy_recipe(epochs=6)
    classifier, result = train_toy(tmp_path, recipe)
    assert result.metrics["top1"] > 0.9 and result.finished
    assert result.epochs_done == 6 and "6 epochs" in result.reason
    assert result.best_epoch is not None
    assert result.history[result.best_epoch]["nll"] == min(row["nll"] for row in result.history)
    again = evaluate(classifier, toy_batches(recipe)[1])
    assert again.metrics()["nll"] == pytest.approx(result.metrics["loss"], rel=1e-5)


def test_the_trunk_and_the_callers_state_are_left_alone(tmp_path: Path) -> None:
    before = toy_classifier().state_dict()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    classifier, _ = train_toy(tmp_path, toy_recipe())
    assert torch.equal(torch.rand(3), expected)
    after = classifier.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed and all(name.startswith(("backbone.stage", "head.")) for name in changed)
    assert not any("running" in name for name in changed)
    assert all(p.requires_grad and p.grad is None for p in classifier.parameters())
    assert not any(m.training for m in classifier.modules())
    assert all(t.is_contiguous() for t in after.values())


def test_same_seed_same_weights_other_seed_other_weights(tmp_path: Path) -> None:
    digests = [
        weights_digest(train_toy(tmp_path / str(n), toy_recipe(seed=seed))[0])
        for n, seed in enumerate((1, 1, 2))
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "sgd", "learning_rate": 0.05},
        {"optimizer": "sgd", "momentum": 0.0},
        {"trainable": "head"},
        {"accumulation": 4},
        {"mixup": 0.4},
        {"cutmix": 1.0},
        {"mixup": 0.4, "cutmix": 1.0},
        {"ema_decay": 0.9},
        {"balance": "weights"},
        {"balance": "sampling"},
        {"balance": "logit_adjustment"},
        {"batch_norm": "updated"},
        {"clip_norm": 0.0},
        {"flip": False},
        {"channels_last": False},
        {"precision": "bf16"},
        {"label_smoothing": 0.0, "weight_decay": 0.0, "warmup_share": 0.0},
        {"checkpoint_every_epochs": 2},
    ],
    ids=str,
)
def test_every_option_trains_on_its_own(tmp_path: Path, change: dict[str, object]) -> None:
    classifier, result = train_toy(tmp_path, toy_recipe(**change))
    assert result.epochs_done == 3 and np.isfinite(result.metrics["nll"])
    assert result.metrics["top1"] > 0.6
    assert weights_digest(classifier) != weights_digest(toy_classifier())


def test_accumulated_batches_equal_one_large_batch(tmp_path: Path) -> None:
    settings = {"epochs": 2, "label_smoothing": 0.1, "flip": False}
    large = toy_recipe(batch_size=16, **settings)
    small = toy_recipe(batch_size=4, accumulation=4, **settings)
    states = []
    for name, recipe in (("large", large), ("small", small)):
        classifier = toy_classifier(dropout=0.0)
        Trainer(classifier, recipe, folder=tmp_path / name).fit(*toy_batches(recipe))
        states.append(classifier.state_dict())
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=1e-4, atol=1e-5)


def test_events_follow_the_loop_of_the_docstring(tmp_path: Path) -> None:
    heard: list[events.Event] = []
    recipe = toy_recipe(epochs=2, batch_size=16, accumulation=2)
    train_toy(tmp_path, recipe, listeners=[heard.append], classes=["a", "b", "c"])
    micro = ["BatchLoaded", "ForwardEnded", "BackwardEnded"]
    epoch = [
        "EpochStarted",
        *micro, *micro, "StepEnded",
        *micro, "StepEnded",
        "EvaluationStarted", "EvaluationForward", "EvaluationForward", "EvaluationEnded",
        "EpochEnded",
    ]  # fmt: skip
    names = [type(event).__name__ for event in heard]
    assert names == ["TrainingStarted", *epoch, *epoch, "TrainingEnded"]
    started = heard[0]
    assert isinstance(started, events.TrainingStarted)
    assert (started.steps_total, started.first_step, started.classes) == (4, 0, ("a", "b", "c"))
    steps = [event for event in heard if isinstance(event, events.StepEnded)]
    assert [event.step for event in steps] == [1, 2, 3, 4]
    assert [event.examples for event in steps] == [32, 16, 32, 16]
    assert all(event.gradient_norm > 0 for event in steps)
    loaded = next(event for event in heard if isinstance(event, events.BatchLoaded))
    assert loaded.step == 0 and loaded.ids is not None and len(loaded.ids) == len(loaded.targets)


def test_gradients_are_still_there_when_a_step_has_ended(tmp_path: Path) -> None:
    classifier, seen = toy_classifier(), []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.StepEnded):
            seen.append(classifier.head.linear.weight.grad is not None)

    recipe = toy_recipe(epochs=1)
    Trainer(classifier, recipe, folder=tmp_path, listeners=[listen]).fit(*toy_batches(recipe))
    assert seen == [True] * 6


def test_the_checkpoint_is_on_disk_when_an_epoch_has_ended(tmp_path: Path) -> None:
    found = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.EpochEnded):
            found.append((tmp_path / "training.safetensors").exists())

    train_toy(tmp_path, toy_recipe(), listeners=[listen])
    assert found == [True] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["training.safetensors"]


def test_stops_early_and_keeps_the_best(tmp_path: Path) -> None:
    recipe = toy_recipe(epochs=40, patience=2, learning_rate=0.3, head_learning_rate=0.3)
    _, result = train_toy(tmp_path, recipe)
    assert result.epochs_done < 40 and "not improved for 2 epochs" in result.reason
    assert result.best_epoch == result.epochs_done - 3


def test_an_epoch_that_would_overrun_the_time_is_not_begun(tmp_path: Path) -> None:
    left = iter([100.0, 100.0, 1e-9])
    _, result = train_toy(tmp_path, toy_recipe(epochs=9), deadline=lambda: next(left))
    assert result.epochs_done == 2 and "time budget" in result.reason
    _, full = train_toy(tmp_path / "full", toy_recipe(epochs=9))
    assert result.history == full.history[:2], "the plan's epochs fix the schedule"


def test_no_time_at_all_leaves_the_classifier_as_it_was(tmp_path: Path) -> None:
    classifier, result = train_toy(tmp_path, toy_recipe(), deadline=lambda: -1.0)
    assert result.best_epoch is None and result.metrics == {} and result.epochs_done == 0
    assert weights_digest(classifier) == weights_digest(toy_classifier())


def _spoil(at_step: int) -> ActivationBatches:
    """Batches of which one photo is not a number."""
    inputs, labels = toy_activations(48)
    inputs = inputs.copy()
    inputs[at_step] = np.nan
    return ActivationBatches(inputs, labels, recipe=toy_recipe())


def test_a_loss_that_is_no_number_ends_with_a_reason_and_good_weights(tmp_path: Path) -> None:
    recipe = toy_recipe()
    classifier, result = toy_classifier(), None
    trainer = Trainer(classifier, recipe, folder=tmp_path)
    result = trainer.fit(_spoil(3), toy_batches(recipe)[1])
    assert "nan at step" in result.reason and "learning_rate" in result.reason
    assert result.best_epoch is None
    assert weights_digest(classifier) == weights_digest(toy_classifier())


def test_diverging_later_keeps_the_best_epoch(tmp_path: Path) -> None:
    recipe = toy_recipe(epochs=5)
    classifier = toy_classifier()

    def spoil(event: events.Event) -> None:
        if isinstance(event, events.EpochEnded) and event.epoch == 1:
            with torch.no_grad():
                classifier.head.linear.bias.fill_(float("inf"))

    trainer = Trainer(classifier, recipe, folder=tmp_path, listeners=[spoil])
    result = trainer.fit(*toy_batches(recipe))
    assert result.epochs_done == 2 and "(epoch 3)" in result.reason and "kept" in result.reason
    assert all(torch.isfinite(t).all() for t in classifier.state_dict().values())
    again = evaluate(classifier, toy_batches(recipe)[1]).metrics()
    assert again["nll"] == pytest.approx(result.metrics["loss"], rel=1e-5)


def test_outputs_that_are_no_numbers_on_validation_end_it_too(tmp_path: Path) -> None:
    classifier = toy_classifier()

    def spoil(event: events.Event) -> None:
        if isinstance(event, events.EvaluationStarted) and event.step == 12:
            with torch.no_grad():
                classifier.head.linear.bias.fill_(float("nan"))

    recipe = toy_recipe(epochs=4)
    trainer = Trainer(classifier, recipe, folder=tmp_path, listeners=[spoil])
    result = trainer.fit(*toy_batches(recipe))
    assert "validation photo" in result.reason and result.epochs_done == 1
    assert result.best_epoch == 0 and torch.isfinite(classifier.head.linear.bias).all()


def test_a_checkpoint_of_a_newer_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT_VERSION", 99)
        train_toy(tmp_path, toy_recipe(epochs=1))
    with pytest.raises(RunError, match=r"format 99.*upgrade"):
        train_toy(tmp_path, toy_recipe(epochs=1))


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    first, result = train_toy(tmp_path, toy_recipe())
    heard: list[events.Event] = []
    second, again = train_toy(tmp_path, toy_recipe(), listeners=[heard.append])
    assert again == result and weights_digest(first) == weights_digest(second)
    assert not any(isinstance(event, events.BatchLoaded) for event in heard)


def test_without_resume_it_starts_again(tmp_path: Path) -> None:
    train_toy(tmp_path, toy_recipe())
    heard: list[events.Event] = []
    recipe = toy_recipe(seed=1)
    trainer = Trainer(toy_classifier(), recipe, folder=tmp_path, listeners=[heard.append])
    trainer.fit(*toy_batches(recipe), resume=False)
    assert sum(isinstance(event, events.EpochEnded) for event in heard) == 3


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    train_toy(tmp_path, toy_recipe())
    with pytest.raises(RunError, match=r"training\.seed was 0 and is 1"):
        train_toy(tmp_path, toy_recipe(seed=1))
    with pytest.raises(RunError, match="training photos"):
        Trainer(toy_classifier(), toy_recipe(), folder=tmp_path).fit(
            *toy_batches(toy_recipe(), train=24)
        )


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    (tmp_path / "training.safetensors").write_bytes(b"not a checkpoint")
    with pytest.raises(RunError, match=r"training\.safetensors is damaged"):
        train_toy(tmp_path, toy_recipe())


def test_recipes_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="trainable is all"):
        train_toy(tmp_path, toy_recipe(trainable="all"))
    with pytest.raises(SettingError, match="fp16"):
        train_toy(tmp_path, toy_recipe(precision="fp16"))
    if not torch.cuda.is_available():
        with pytest.raises(SettingError, match="no GPU"):
            train_toy(tmp_path, toy_recipe(device="cuda"))


def test_cutmix_on_tokens_is_refused_with_the_way_out(tmp_path: Path) -> None:
    from houndsight.training.mix import Mixer

    mixer = Mixer(mixup=0.0, cutmix=1.0, classes=3)
    with pytest.raises(SettingError, match="mixup"):
        mixer(torch.zeros(4, 5, 8), torch.zeros(4).long(), np.random.default_rng(0))
