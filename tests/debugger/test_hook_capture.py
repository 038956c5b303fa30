"""What the hook records of a training, checked against what PyTorch says itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from houndsight.debugger import Hook, read_history
from houndsight.debugger.hook.thumbnails import Thumbnails
from houndsight.debugger.record import SAMPLED, Group, Mode, Statistic
from houndsight.errors import SettingError


class Net(nn.Module):
    """Convolution with bias, BatchNorm, in-place ReLU, dropout, head."""

    def __init__(self, classes: int = 4) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.bn = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.1)
        self.fc = nn.Linear(8, classes)

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.bn(self.conv(images))).mean((2, 3))
        scores: Tensor = self.fc(self.drop(features))
        return scores


def batch(seed: int, size: int = 6, classes: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 3, 8, 8, generator=generator)
    return images, torch.randint(0, classes, (size,), generator=generator)


def train(
    model: nn.Module,
    criterion: Callable[[Tensor, Tensor], Tensor],
    optimizer: torch.optim.Optimizer,
    steps: int,
    *,
    zero: bool = True,
) -> None:
    for step in range(steps):
        images, labels = batch(step)
        if zero:
            optimizer.zero_grad()
        criterion(model(images), labels).backward()
        optimizer.step()


@pytest.fixture
def model() -> Net:
    torch.manual_seed(0)
    return Net()


def sgd(model: nn.Module, rate: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), rate, momentum=0.9)


def test_norms_loss_and_labels_are_those_of_the_training(model: Net, tmp_path: Path) -> None:
    optimizer, criterion = sgd(model), nn.CrossEntropyLoss()
    expected: list[tuple[float, float, float]] = []
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for step in range(5):
            images, labels = batch(step)
            optimizer.zero_grad()
            scores = model(images)
            loss = criterion(scores, labels)
            loss.backward()
            assert model.fc.weight.grad is not None
            weight = float(model.fc.weight.detach().norm())
            expected.append((loss.item(), weight, float(model.fc.weight.grad.norm())))
            optimizer.step()
        history = hook.history()
    wanted = np.array(expected)
    np.testing.assert_allclose(history.scalar("loss").values[:, 0], wanted[:, 0], rtol=1e-5)
    weights = history.series(Group.PARAMETERS, Statistic.NORM)
    np.testing.assert_allclose(weights.of("fc.weight"), wanted[:, 1], rtol=1e-5)
    gradients = history.series(Group.GRADIENTS, Statistic.NORM)
    np.testing.assert_allclose(gradients.of("fc.weight"), wanted[:, 2], rtol=1e-5)
    assert weights.steps.tolist() == [0, 1, 2, 3, 4]
    given = history.batches(Group.LABELS)
    np.testing.assert_array_equal(given.values[2], batch(2)[1].numpy())
    total = np.sqrt((gradients.values**2).sum(1))
    np.testing.assert_allclose(history.scalar("gradient_norm").values[:, 0], total, rtol=1e-5)
    for name, value in (("learning_rate", 0.1), ("micro_batches", 1), ("batch_size", 6)):
        assert history.scalar(name).values[:, 0].tolist() == pytest.approx([value] * 5)
    assert history.scalar("memory_bytes").values[-1, 0] > 1e7


def test_every_group_is_there(model: Net, tmp_path: Path) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    hook = Hook(model, loss=nn.CrossEntropyLoss(), optimizer=optimizer, folder=tmp_path)
    train(model, nn.CrossEntropyLoss(), optimizer, 1)
    hook.close()
    hook = Hook(model, loss=(criterion := nn.CrossEntropyLoss()), folder=tmp_path / "again")
    train(model, criterion, optimizer, 40)
    hook.close()
    history = read_history(hook.folder)
    for group in Group:
        statistic = {
            Group.PARAMETERS: Statistic.NORM,
            Group.GRADIENTS: Statistic.MEDIAN,
            Group.UPDATES: Statistic.RATIO,
            Group.ACTIVATIONS: Statistic.ZEROS,
            Group.BATCHNORM: Statistic.DRIFT,
            Group.OPTIMIZER: Statistic.SECOND_MOMENT,
            Group.INPUTS: Statistic.STD,
            Group.EXAMPLES: Statistic.FINGERPRINT,
            Group.LOGITS: Statistic.ENTROPY,
        }.get(group, Statistic.VALUE)
        assert len(history.batches(group, statistic)), f"nothing of {group}"
    inactive = history.series(Group.ACTIVATIONS, Statistic.INACTIVE)
    assert inactive.names == ("relu",)
    assert len(inactive)


def test_sampled_statistics_are_those_of_the_tensor(model: Net, tmp_path: Path) -> None:
    # The head has 32 weights, so that the sample is all of them.
    optimizer = sgd(model)
    with Hook(model, loss=nn.CrossEntropyLoss(), optimizer=optimizer, folder=tmp_path) as hook:
        before = model.fc.weight.detach().numpy().copy()
        train(model, nn.CrossEntropyLoss(), optimizer, 1)
        history = hook.history()
    found = {
        statistic: history.series(Group.PARAMETERS, statistic).of("fc.weight")[0]
        for statistic in SAMPLED
    }
    expected = {
        Statistic.MEAN: before.mean(),
        Statistic.MEAN_ABSOLUTE: np.abs(before).mean(),
        Statistic.STD: before.std(),
        Statistic.MINIMUM: before.min(),
        Statistic.MAXIMUM: before.max(),
        Statistic.P05: np.quantile(before, 0.05),
        Statistic.P25: np.quantile(before, 0.25),
        Statistic.MEDIAN: np.median(before),
        Statistic.P75: np.quantile(before, 0.75),
        Statistic.P95: np.quantile(before, 0.95),
        Statistic.ZEROS: 0.0,
    }
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
    ratio = history.series(Group.UPDATES, Statistic.RATIO).of("fc.weight")[0]
    after = model.fc.weight.detach().numpy()
    assert ratio == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-4)


def test_an_in_place_relu_does_not_hide_what_came_before(model: Net, tmp_path: Path) -> None:
    seen: list[float] = []
    model.bn.register_forward_hook(lambda m, i, o: seen.append(float(o.detach().min())))
    optimizer = sgd(model)
    with Hook(model, loss=nn.CrossEntropyLoss(), optimizer=optimizer, folder=tmp_path) as hook:
        train(model, nn.CrossEntropyLoss(), optimizer, 1)
        history = hook.history()
    minimum = history.series(Group.ACTIVATIONS, Statistic.MINIMUM)
    assert minimum.of("bn")[0] < 0
    assert minimum.of("bn")[0] >= seen[0]
    assert minimum.of("relu")[0] == 0


def test_batchnorm_figures_follow_from_its_buffers(model: Net, tmp_path: Path) -> None:
    inputs: list[Tensor] = []
    model.bn.register_forward_hook(lambda m, i, o: inputs.append(i[0].detach().clone()))
    optimizer = sgd(model)
    with Hook(model, loss=nn.CrossEntropyLoss(), optimizer=optimizer, folder=tmp_path) as hook:
        train(model, nn.CrossEntropyLoss(), optimizer, 1)
        history = hook.history()
    mean = inputs[0].mean((0, 2, 3))
    variance = inputs[0].var((0, 2, 3))
    drift = history.series(Group.BATCHNORM, Statistic.DRIFT).of("bn")[0]
    ratio = history.series(Group.BATCHNORM, Statistic.VARIANCE_RATIO).of("bn")[0]
    assert drift == pytest.approx(float(mean.abs().mean()), rel=1e-2)
    assert ratio == pytest.approx(float(variance.log().mean().exp()), rel=1e-2)


def test_losses_are_seen_wherever_they_are_called(model: Net, tmp_path: Path) -> None:
    optimizer = sgd(model)
    with Hook(model, optimizer=optimizer, folder=tmp_path) as hook:
        train(model, lambda s, y: F.cross_entropy(s, y, label_smoothing=0.1), optimizer, 3)
        history = hook.history()
    assert len(history.scalar("loss")) == 3
    loss = history.structure.loss
    assert loss is not None
    assert (loss.kind, loss.target_kind, loss.outputs) == ("cross_entropy", "indices", 4)
    assert loss.settings["label_smoothing"] == 0.1
    each = history.batches(Group.LOSSES)
    np.testing.assert_allclose(each.values[1].mean(), history.scalar("loss").values[1, 0], 1e-4)


def test_a_criterion_of_ones_own_is_looked_into(model: Net, tmp_path: Path) -> None:
    class Own(nn.Module):
        def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
            return F.nll_loss(F.log_softmax(scores, 1), labels) + 1.0

    class Unknown(nn.Module):
        def forward(self, scores: Tensor, labels: Tensor) -> Tensor:
            return (scores - F.one_hot(labels, 4)).square().mean()

    for criterion, kind in ((Own(), "nll_loss"), (Unknown(), "Unknown")):
        optimizer = sgd(model)
        folder = tmp_path / kind
        with Hook(model, loss=criterion, optimizer=optimizer, folder=folder) as hook:
            train(model, criterion, optimizer, 2)
            history = hook.history()
        assert history.structure.loss is not None
        assert history.structure.loss.kind == kind
        assert len(history.scalar("loss")) == 2
        assert history.scalar("accuracy").values.shape == (2, 1)


def test_a_loss_that_no_function_made_is_seen_when_differentiated(
    model: Net, tmp_path: Path
) -> None:
    optimizer = sgd(model)
    with Hook(model, optimizer=optimizer, folder=tmp_path) as hook:
        train(model, lambda s, y: (s - F.one_hot(y, 4)).abs().mean(), optimizer, 2)
        history = hook.history()
    assert history.structure.loss is not None
    assert history.structure.loss.kind == "custom"
    assert len(history.scalar("loss")) == 2


def test_functional_activations_are_seen(tmp_path: Path) -> None:
    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

        def forward(self, images: Tensor) -> Tensor:
            features = F.relu(self.conv(images)).mean((2, 3))
            scores: Tensor = self.fc(torch.relu(features))
            return scores

    model = Functional()
    optimizer = sgd(model)
    with Hook(model, loss=nn.CrossEntropyLoss(), optimizer=optimizer, folder=tmp_path) as hook:
        train(model, nn.CrossEntropyLoss(), optimizer, 40)
        history = hook.history()
    zeros = history.series(Group.ACTIVATIONS, Statistic.ZEROS)
    assert set(zeros.names) == {"conv", "fc", "relu()", "relu()/1"}
    assert 0.2 < zeros.of("relu()")[-1] < 0.8
    assert "relu()" in history.series(Group.ACTIVATIONS, Statistic.INACTIVE).names
    order = [module.name for module in history.structure.in_order()]
    assert order == ["conv", "relu()", "relu()/1", "fc"]


def test_evaluation_is_told_from_training(model: Net, tmp_path: Path) -> None:
    optimizer, criterion = sgd(model), nn.CrossEntropyLoss()
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        train(model, criterion, optimizer, 3)
        model.eval()
        with torch.no_grad():
            for seed in range(2):
                criterion(model(batch(seed)[0]), batch(seed)[1])
        # Without no_grad and without eval(), as forgetful scripts do it.
        model.train()
        for seed in range(2):
            F.cross_entropy(model(batch(seed)[0]), batch(seed)[1])
        train(model, criterion, optimizer, 1)
        history = hook.history()
    assert history.scalar("loss").steps.tolist() == [0, 1, 2, 3]
    evaluated = history.flag("training", Mode.EVAL)
    assert evaluated.steps.tolist() == [3, 3, 3, 3]
    assert evaluated.forwards.tolist() == [0, 1, 2, 3]
    assert evaluated.values[:, 0].tolist() == [0, 0, 1, 1]
    assert history.flag("gradients_enabled", Mode.EVAL).values[:, 0].tolist() == [0, 0, 1, 1]
    assert len(history.scalar("accuracy", Mode.EVAL)) >= 2
    assert history.flag("batchnorm_training").values[:, 0].tolist() == [1, 1, 1, 1]


def test_predictions_can_be_told_apart(model: Net, tmp_path: Path) -> None:
    with Hook(model, folder=tmp_path) as hook:
        hook.set_mode("predict")
        with torch.no_grad():
            model(batch(0)[0])
        hook.flush()
        history = hook.history()
    assert len(history.batches(Group.EXAMPLES, Statistic.FINGERPRINT, Mode.PREDICT)) == 1


def test_stale_and_lost_gradients_are_flagged(model: Net, tmp_path: Path) -> None:
    optimizer, criterion = sgd(model, 1e-3), nn.CrossEntropyLoss()
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path / "stale") as hook:
        train(model, criterion, optimizer, 3, zero=False)
        history = hook.history()
    assert history.flag("stale_gradients").values[:, 0].tolist() == [0, 1, 1]
    optimizer.zero_grad()
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path / "lost") as hook:
        for step in range(3):
            for micro in range(2):
                optimizer.zero_grad(set_to_none=bool(step))
                criterion(model(batch(micro)[0]), batch(micro)[1]).backward()
            optimizer.step()
        history = hook.history()
    assert history.flag("kept_gradients").values[:, 0].tolist() == [0, 0, 0]
    assert history.scalar("micro_batches").values[:, 0].tolist() == [2, 2, 2]


def test_forwards_of_one_backward_pass_lose_nothing(model: Net, tmp_path: Path) -> None:
    optimizer, criterion = sgd(model), nn.TripletMarginLoss()
    with Hook(model, optimizer=optimizer, folder=tmp_path) as hook:
        for step in range(3):
            optimizer.zero_grad()
            criterion(*(model(batch(3 * step + i)[0]) for i in range(3))).backward()
            optimizer.step()
        history = hook.history()
    assert not len(history.flag("kept_gradients"))
    assert history.flag("stale_gradients").values[:, 0].tolist() == [0, 0, 0]


def test_an_attack_before_the_step_is_not_its_batch(model: Net, tmp_path: Path) -> None:
    optimizer, criterion = sgd(model), nn.CrossEntropyLoss()
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for step in range(3):
            inputs, labels = batch(step)
            attacked = inputs.clone().requires_grad_()
            (slope,) = torch.autograd.grad(criterion(model(attacked), labels), attacked)
            optimizer.zero_grad()
            criterion(model(inputs + 0.1 * slope.sign()), labels).backward()
            optimizer.step()
        history = hook.history()
    stale = history.flag("stale_gradients")
    assert [stale.values[stale.steps == step][-1, 0] for step in range(3)] == [0, 0, 0]
    assert not len(history.flag("kept_gradients"))


def test_two_labels_of_the_same_outputs_are_no_answer(model: Net, tmp_path: Path) -> None:
    optimizer, criterion = sgd(model), nn.CrossEntropyLoss()
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        inputs, labels = batch(0)
        outputs = model(inputs)
        loss = 0.3 * criterion(outputs, labels) + 0.7 * criterion(outputs, labels.flip(0))
        loss.backward()
        optimizer.step()
        history = hook.history()
    assert not len(history.batches(Group.LABELS))
    assert history.flag("targets_probabilities").values[:, 0].tolist() == [1]
    assert history.scalar("loss").names == ("loss",)
    assert len(history.batches(Group.PREDICTIONS)) == 1


def test_accumulation_makes_one_step_of_several_forwards(model: Net, tmp_path: Path) -> None:
    optimizer, criterion = sgd(model), nn.CrossEntropyLoss()
    losses: list[float] = []
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for step in range(2):
            optimizer.zero_grad()
            for micro in range(3):
                loss = criterion(model(batch(3 * step + micro)[0]), batch(3 * step + micro)[1])
                (loss / 3).backward()
                losses.append(loss.item())
            optimizer.step()
        history = hook.history()
    assert history.scalar("micro_batches").values[:, 0].tolist() == [3, 3]
    assert history.scalar("batch_size").values[:, 0].tolist() == [18, 18]
    assert history.scalar("loss").values[0, 0] == pytest.approx(np.mean(losses[:3]), rel=1e-5)
    labels = history.batches(Group.LABELS)
    assert labels.steps.tolist() == [0, 0, 0, 1, 1, 1]
    assert labels.forwards.tolist() == [0, 1, 2, 3, 4, 5]
    assert history.flag("kept_gradients").values[:, 0].tolist() == [1, 1, 1, 1]


def test_equal_examples_have_equal_fingerprints(model: Net, tmp_path: Path) -> None:
    with Hook(model, folder=tmp_path) as hook, torch.no_grad():
        images = batch(0, 8)[0]
        model(images)
        model(images[2:4])
        model(images.contiguous(memory_format=torch.channels_last))
        history = hook.history()
    marks = history.batches(Group.EXAMPLES, Statistic.FINGERPRINT, Mode.EVAL).values
    assert len(set(marks[0].tolist())) == 8
    assert marks[1].tolist() == marks[0][2:4].tolist()
    assert marks[2].tolist() == marks[0].tolist()


def test_softmax_before_the_loss_and_mixed_targets_are_flagged(model: Net, tmp_path: Path) -> None:
    optimizer, criterion = sgd(model), nn.CrossEntropyLoss()
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        images, labels = batch(0)
        criterion(model(images).softmax(1), labels).backward()
        optimizer.step()
        mixed = F.one_hot(labels, 4) * 0.7 + 0.3 * F.one_hot(labels.flip(0), 4)
        criterion(model(images), mixed).backward()
        optimizer.step()
        history = hook.history()
    assert history.flag("inputs_softmaxed").values[:, 0].tolist() == [1, 0]
    assert history.flag("targets_probabilities").values[:, 0].tolist() == [0, 1]


def test_exact_statistics_and_raw_tensors_at_save_intervals(model: Net, tmp_path: Path) -> None:
    optimizer, criterion = sgd(model), nn.CrossEntropyLoss()
    hook = Hook(
        model,
        loss=criterion,
        optimizer=optimizer,
        folder=tmp_path,
        save_interval=2,
        collections=["weights", "gradients"],
    )
    train(model, criterion, optimizer, 3)
    hook.close()
    from houndsight.debugger import TensorLog

    log = TensorLog(tmp_path)
    assert log.raw_steps() == [0, 2]
    assert set(log.raw(2)) == {
        f"{group}/{name}"
        for group in ("parameters", "gradients")
        for name in hook.collector.watch.names  # type: ignore[union-attr]
        if group == "gradients" or name.endswith("weight")
    }
    series = log.history().series(Group.PARAMETERS, Statistic.MEDIAN)
    assert series.exact.tolist() == [True, False, True]


def test_what_is_wrong_is_said_in_a_sentence(model: Net, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="model is a str"):
        Hook("model")  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="save_interval is 0"):
        Hook(model, save_interval=0, folder=tmp_path)
    with pytest.raises(SettingError, match="no collection 'weight'"):
        Hook(model, collections=["weight"], folder=tmp_path)
    with pytest.raises(SettingError, match="optimizer is a float"):
        Hook(model, optimizer=0.1, folder=tmp_path)  # type: ignore[arg-type]


def test_structure_tells_frozen_shared_and_zero_gradients(tmp_path: Path) -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = Net()
            self.other = nn.Linear(8, 8)
            self.twin = self.other
            self.net.fc.weight.require_grad = False  # type: ignore[attr-defined]
            self.net.conv.weight.requires_grad = False

        def forward(self, images: Tensor) -> Tensor:
            features = self.net.relu(self.net.bn(self.net.conv(images))).mean((2, 3))
            scores: Tensor = self.net.fc(self.twin(self.other(features)))
            return scores

    model = Shared()
    optimizer = torch.optim.SGD(
        [{"params": model.other.parameters(), "lr": 0.2}, {"params": model.net.fc.parameters()}],
        0.1,
    )
    with Hook(model, loss=nn.CrossEntropyLoss(), optimizer=optimizer, folder=tmp_path) as hook:
        train(model, nn.CrossEntropyLoss(), optimizer, 2)
        history = hook.history()
    structure = history.structure
    record = {p.name: p for p in structure.parameters}
    assert record["net.conv.bias"].zero_gradient == "bias before BatchNorm net.bn"
    assert not record["net.fc.bias"].zero_gradient
    assert not record["net.conv.weight"].trainable
    assert record["other.weight"].shared_with == ("twin.weight",)
    assert record["net.fc.weight"].misspelt == "require_grad=False"
    assert [record[n].group for n in ("other.weight", "net.fc.bias", "net.bn.bias")] == [0, 1, None]
    assert structure.head == "net.fc"
    assert structure.optimizer is not None
    assert structure.optimizer.kind == "SGD"
    assert history.scalar("learning_rate/1").values[:, 0].tolist() == pytest.approx([0.1, 0.1])
    assert history.scalar("learning_rate").values[0, 0] == pytest.approx(0.2)
    norms = history.series(Group.GRADIENTS, Statistic.NORM)
    assert "net.conv.weight" not in norms.names
    assert structure.coverage["parameters"]["left_out"]["frozen, and in no optimizer"]["count"] == 1


def test_importing_houndsight_imports_neither_torch_nor_pyarrow() -> None:
    import subprocess
    import sys

    check = (
        "import sys, houndsight, houndsight.debugger; "
        "assert not {'torch', 'pyarrow'} & set(sys.modules); "
        "import houndsight.debugger.tensor_log; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", check], check=True)


class Listed(nn.Module):
    """Layers that PyTorch does not know of, and a dropout that does not know of `eval()`."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = [nn.Linear(8, 8), nn.Linear(8, 8)]
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        features = self.conv(images).mean((2, 3))
        for layer in self.hidden:
            features = F.dropout(layer(features), 0.3)
        scores: Tensor = self.head(features)
        return scores


def test_parameters_that_the_model_does_not_know_are_seen(tmp_path: Path) -> None:
    model, criterion = Listed(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        train(model, criterion, optimizer, 2)
    assert hook.structure is not None
    assert sorted(hook.structure.strangers) == [(8,), (8,), (8, 8), (8, 8)]


def test_parameters_in_the_optimizer_are_no_strangers(tmp_path: Path) -> None:
    model, criterion = Listed(), nn.CrossEntropyLoss()
    held = [*model.parameters(), *(p for layer in model.hidden for p in layer.parameters())]
    optimizer = torch.optim.SGD(held, 0.01)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        train(model, criterion, optimizer, 2)
    assert hook.structure is not None
    assert hook.structure.strangers == ()


def test_what_made_the_inputs_is_not_the_models(tmp_path: Path, model: Net) -> None:
    generator, criterion = nn.Conv2d(3, 3, 1), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        images, labels = batch(0)
        criterion(model(generator(images)), labels).backward()
        optimizer.step()
        hook.flush()
        assert hook.structure is not None
        assert hook.structure.strangers == ()


def test_functional_dropout_in_evaluation_is_seen(tmp_path: Path, model: Net) -> None:
    for one, expected in ((Listed(), 0.3), (model, 0.0)):
        folder, criterion = tmp_path / type(one).__name__, nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(one.parameters(), 0.01)
        with Hook(one, loss=criterion, optimizer=optimizer, folder=folder) as hook:
            train(one, criterion, optimizer, 2)
            one.eval()
            with torch.no_grad():
                one(batch(5)[0])
        assert hook.structure is not None
        assert hook.structure.dropout_in_evaluation == pytest.approx(expected)
        assert hook.structure.functional_dropout == pytest.approx(expected)


@pytest.mark.parametrize("factor", [1.0, 0.01])
def test_what_the_outputs_are_multiplied_by_is_known(
    tmp_path: Path, model: Net, factor: float
) -> None:
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for step in range(2):
            images, labels = batch(step)
            criterion(model(images) * factor, labels).backward()
            optimizer.step()
        hook.flush()
        assert hook.structure is not None
        assert hook.structure.loss is not None
        assert hook.structure.loss.factor == pytest.approx(factor)


def test_class_numbers_in_floating_point_are_told_from_values(tmp_path: Path) -> None:
    for targets, kind in ((torch.arange(6.0), "numbers"), (torch.rand(6), "values")):
        model, criterion = Net(1), nn.MSELoss()
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path / kind) as hook:
            criterion(model(batch(0)[0])[:, 0], targets).backward()
            optimizer.step()
        assert hook.structure is not None
        assert hook.structure.loss is not None
        assert (hook.structure.loss.target_kind, hook.structure.loss.outputs) == (kind, 1)


def test_statistics_that_are_overwritten_before_an_evaluation_are_seen(
    tmp_path: Path, model: Net
) -> None:
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for overwritten in (False, True):
            model.train()
            train(model, criterion, optimizer, 3)
            if overwritten:
                model.bn.reset_running_stats()
            model.eval()
            with torch.no_grad():
                criterion(model(batch(7)[0]), batch(7)[1])
        hook.flush()
        written = hook.history().flag("statistics_written", Mode.EVAL)
    assert written.values[:, 0].tolist() == [0, 1]


def test_thumbnails_tell_what_the_plainest_classifiers_get_right(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(0, 4, (900,), generator=generator)
    images = torch.randn(900, 3, 16, 16, generator=generator)
    images += labels.view(-1, 1, 1, 1)
    model, criterion = Net(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 1e-6)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for first in range(0, 600, 30):
            optimizer.zero_grad()
            criterion(model(images[first : first + 30]), labels[first : first + 30]).backward()
            optimizer.step()
        with torch.no_grad():
            criterion(model.eval()(images[600:]), labels[600:])
        hook.flush()
        history = hook.history()
    for name in ("linear_accuracy", "neighbour_accuracy"):
        assert history.scalar(name, Mode.EVAL).values[-1, 0] > 0.9


def test_weights_that_change_between_steps_are_seen(tmp_path: Path, model: Net) -> None:
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        train(model, criterion, optimizer, 3)
        with torch.no_grad():
            model.fc.weight.mul_(2)
        train(model, criterion, optimizer, 2)
        hook.flush()
        between = hook.history().series(Group.UPDATES, Statistic.BETWEEN)
    assert between.steps.tolist() == [3]
    assert between.of("fc.weight")[0] == pytest.approx(1)
    assert between.of("conv.weight")[0] == 0


class Reversed(torch.autograd.Function):
    """Hands its input on, and the gradient with the other sign."""

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: object, *gradients: Tensor) -> Tensor:
        return -gradients[0]


class Own(Net):
    """With a function of its own."""

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.bn(self.conv(images))).mean((2, 3))
        scores: Tensor = self.fc(Reversed.apply(features))
        return scores


def test_a_persons_own_autograd_functions_are_named(tmp_path: Path) -> None:
    for model, named in ((Own(), ("Reversed",)), (Net(), ())):
        folder, criterion = tmp_path / type(model).__name__, nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        with Hook(model, loss=criterion, optimizer=optimizer, folder=folder) as hook:
            train(model, criterion, optimizer, 2)
        assert hook.structure is not None
        assert hook.structure.own_functions == named


def test_training_forwards_of_parts_do_not_overwrite_statistics(tmp_path: Path, model: Net) -> None:
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        train(model, criterion, optimizer, 3)
        model.bn.reset_running_stats()
        model.bn(model.conv(batch(3)[0]))
        model.eval()
        with torch.no_grad():
            criterion(model(batch(7)[0]), batch(7)[1])
        hook.flush()
        written = hook.history().flag("statistics_written", Mode.EVAL)
    assert written.values[:, 0].tolist() == [0]


def test_parameters_that_another_optimizer_moves_are_no_strangers(tmp_path: Path) -> None:
    model, criterion = Listed(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    other = torch.optim.SGD([p for layer in model.hidden for p in layer.parameters()], 0.01)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for step in range(2):
            images, labels = batch(step)
            criterion(model(images), labels).backward()
            optimizer.step()
            other.step()
        assert hook.structure is not None
        assert hook.structure.strangers == ()


class Anew(Net):
    """With a layer that is made in every forward."""

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.bn(self.conv(images))).mean((2, 3))
        scores: Tensor = self.fc(nn.Linear(features.shape[1], features.shape[1])(features))
        return scores


def test_layers_that_are_made_in_the_forward_stay_strangers(tmp_path: Path) -> None:
    model, criterion = Anew(), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        train(model, criterion, optimizer, 2)
        optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(1))]})
        train(model, criterion, optimizer, 2)
    assert hook.structure is not None
    assert len(hook.structure.strangers) == 2


def test_whole_numbers_are_not_taken_for_class_numbers(tmp_path: Path) -> None:
    ages, model, criterion = torch.arange(6.0) * 7 + 20, Net(1), nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), 0.01)
    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        criterion(model(batch(0)[0])[:, 0], ages).backward()
        optimizer.step()
    assert hook.structure is not None
    assert hook.structure.loss is not None
    assert hook.structure.loss.target_kind == "values"


def test_lbfgs_changes_nothing_between_its_steps(tmp_path: Path, model: Net) -> None:
    criterion, optimizer = nn.CrossEntropyLoss(), torch.optim.LBFGS(model.parameters(), 0.1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss: Tensor = criterion(model(batch(0)[0]), batch(0)[1])
        loss.backward()
        return loss

    with Hook(model, loss=criterion, optimizer=optimizer, folder=tmp_path) as hook:
        for _ in range(4):
            optimizer.step(closure)
        hook.flush()
        between = hook.history().series(Group.UPDATES, Statistic.BETWEEN)
    assert len(between) == 0


def test_thumbnails_of_a_whole_data_set_are_few() -> None:
    thumbnails, photos = Thumbnails(), torch.arange(5000.0).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    taken = thumbnails.take(photos, training=True)
    assert taken is not None
    every, small = taken
    assert (every, len(small)) == (3, 1667)
    assert small[:, 0, 0, 0].tolist() == list(range(0, 5000, 3))
