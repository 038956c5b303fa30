"""Probe, fine-tuned network or their average: the one that validates best is kept."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from houndsight.stages.train import AVERAGED, FINE_TUNED, PROBE, _best, _Candidate, _told
from houndsight.training.evaluate import Evaluation, calibrated_metrics


def candidate(name: str, skill: float, *, count: int = 400) -> _Candidate:
    """One whose logits say the right class the more clearly the more skill it has."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 3
    logits = random.normal(size=(count, 3)) + skill * np.eye(3)[labels]
    validated = Evaluation(logits.astype(np.float32), labels, np.arange(count))
    classifier: Any = SimpleNamespace()
    return _Candidate(name, classifier, validated, calibrated_metrics(validated))


@pytest.mark.parametrize("best", [PROBE, FINE_TUNED, AVERAGED])
def test_the_one_that_validates_best_is_kept_and_it_is_said_by_how_much(best: str) -> None:
    candidates = [candidate(n, 2.0 + (n == best)) for n in (PROBE, FINE_TUNED, AVERAGED)]
    kept = _best(candidates, "nll")
    assert kept.name == best
    text = _told(candidates, kept)
    assert f"keeping the {best} model" in text and "95 % interval" in text
    less = candidates[0].figures["nll"] - kept.figures["nll"]
    assert (f"{less:.3f} less" in text) == (best != PROBE)


def test_equals_go_to_the_simpler() -> None:
    same = [candidate(name, 2.0) for name in (PROBE, FINE_TUNED, AVERAGED)]
    assert _best(same, "nll").name == _best(same, "top1").name == PROBE


def test_a_photos_loss_is_what_the_figures_average() -> None:
    one = candidate(PROBE, 2.0)
    assert one.losses.mean() == pytest.approx(one.figures["nll"], rel=1e-5)
