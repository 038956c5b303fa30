"""What other tools say of the same trainings, each used as its documentation shows.

None of them is a dependency: one that cannot be imported is left out, and that is said. A sample
of the harmful faults is taken, evenly over the kinds, with their healthy twins.

- trainproof reads a log: step, loss, learning rate, gradient norm and validation loss of every
  step, from the recording.
- torch-audit is attached by `autopatch` for the first 40 steps, at every step.
- torchtest2 is given the first batch, model, loss and optimizer before the training.

TrainCheck learns invariants from traces of a person's own healthy runs by rewriting the script,
and is not run.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from _common import Table
from torch import Tensor, nn

from fault_suite.judging import Case
from fault_suite.plan import twin
from fault_suite.recordings import Recordings
from fault_suite.spec import Spec
from fault_suite.training import ONE_HOT, Training
from houndsight.debugger.conditions import evaluations

__all__ = ["peers_table"]

AUDITED_STEPS = 40


def _trainproof(spec: Spec, recordings: Recordings) -> set[str]:
    from trainproof.epoch import check_records  # type: ignore[import-not-found]

    recorded = recordings.get(spec, log=True)
    assert recorded is not None, "cases are recorded"
    history = recorded.history()
    names = {"loss": "loss", "lr": "learning_rate", "grad_norm": "gradient_norm"}
    rows: dict[int, dict[str, float]] = {}
    for theirs, ours in names.items():
        series = history.scalar(ours)
        for step, value in zip(series.steps.tolist(), series.of(ours).tolist(), strict=True):
            rows.setdefault(step, {"step": step})[theirs] = value
    for one in evaluations(history):
        rows.setdefault(one.step, {"step": one.step})["eval_loss"] = one.loss
    found = check_records([rows[step] for step in sorted(rows)])["findings"]
    return {f["id"] for f in found if f["level"] in ("WARN", "FAIL")}


def _torch_audit(spec: Spec, recordings: Recordings) -> set[str]:
    from torch_audit import Severity, autopatch  # type: ignore[import-not-found]

    training = Training(replace(spec, steps=min(spec.steps, AUDITED_STEPS)), recordings.weights)
    auditor = autopatch(training.model, optimizer=training.optimizer, every_n_steps=1)
    training.run()
    found = auditor.finish(report=False).findings
    return {f.rule_id for f in found if f.severity != Severity.INFO}


def _torchtest2(spec: Spec, recordings: Recordings) -> set[str]:
    import torchtest2  # type: ignore[import-not-found]

    training = Training(spec, recordings.weights)
    images, labels = next(iter(training.batches))

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        if spec.loss in ONE_HOT:
            targets = nn.functional.one_hot(targets, outputs.shape[1]).float()
        value: Tensor = training.criterion(outputs, targets) * spec.loss_factor
        return value

    optimizer = training.optimizer if spec.held != "stale" else None
    report = torchtest2.check_model(
        training.model, images, labels, loss_fn=loss, optimizer=optimizer
    )
    return {result.name for result in (*report.failures, *report.warnings)}


PEERS: Mapping[str, Callable[[Spec, Recordings], set[str]]] = {
    "trainproof": _trainproof,
    "torch-audit": _torch_audit,
    "torchtest2": _torchtest2,
}


def peers_table(cases: Sequence[Case], recordings: Recordings, sample: int) -> Table:
    """A row a peer: how many of the sample it detects, and of how many twins it warns."""
    harmful = [case for case in cases if case.harmful]
    places = np.unique(np.linspace(0, len(harmful) - 1, min(sample, len(harmful))).astype(int))
    chosen = [harmful[place] for place in places] if harmful else []
    ours = [
        "houndsight",
        _of(sum(case.detected for case in chosen), len(chosen)),
        _of(*_alarms(chosen, {case.run.spec.key: set(case.twin_said.loud) for case in chosen})),
    ]
    rows = [ours]
    for name, said in PEERS.items():
        version = _version(name)
        if not version:
            rows.append([f"{name} (not installed)", "", ""])
            continue
        of_fault = [_safely(said, case.run.spec, recordings) for case in chosen]
        of_twin = {
            case.run.spec.key: _safely(said, twin(case.run.spec), recordings) for case in chosen
        }
        pairs = zip(chosen, of_fault, strict=True)
        detected = sum(bool(found - of_twin[case.run.spec.key]) for case, found in pairs)
        shares = _of(detected, len(chosen)), _of(*_alarms(chosen, of_twin))
        rows.append([f"{name} {version}", *shares])
    return Table(["of a sample, beside others", "faults detected", "healthy twins warned of"], rows)


def _alarms(cases: Sequence[Case], said: Mapping[str, set[str]]) -> tuple[int, int]:
    twins = {twin(case.run.spec).key: bool(said[case.run.spec.key]) for case in cases}
    return sum(twins.values()), len(twins)


def _of(count: int, whole: int) -> str:
    return f"{count} of {whole} ({count / whole:.1%})" if whole else ""


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _safely(
    said: Callable[[Spec, Recordings], set[str]], spec: Spec, recordings: Recordings
) -> set[str]:
    """What a peer says; that it ended in an error is an alarm too, since a person sees it."""
    try:
        return said(spec, recordings)
    except Exception as error:
        return {type(error).__name__}
