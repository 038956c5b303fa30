"""Evaluation runs in training mode."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.history import History, Series
from houndsight.debugger.record import Mode
from houndsight.debugger.rules.base import Rule
from houndsight.findings import Cause, Finding, Severity

__all__ = ["EvalModeMissing"]

FORWARDS = 2


class EvalModeMissing(Rule):
    """Evaluation runs with Dropout and BatchNorm in training mode: Dropout takes features away,
    BatchNorm normalises by the batch at hand and, worse, takes the evaluation photos into its
    running statistics. The measured accuracy is not that of the model that is saved.

    Condition: at two or more forwards without gradients that had a loss, the root was
    in training mode and Dropout or BatchNorm with it. Forwards without a loss count at two
    different steps or more (a single pass in training mode is how running statistics are
    recomputed, as `torch.optim.swa_utils.update_bn` does); at one step they are a remark. Dropout
    that is left on by purpose (Monte Carlo dropout) has the root in evaluation mode and is not
    meant, except for `F.dropout(x, p)`, which knows of no mode: that it drops in evaluation mode is
    a warning.

    Source: PyTorch's documentation of `Module.eval`; 13 of 101 read scripts lack it.
    """

    name = "EvalModeMissing"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding each for forwards with labels and without, one for `F.dropout`."""
        if history.structure.dropout_in_evaluation:
            yield _functional(history, history.structure.dropout_in_evaluation)
        for mode in (Mode.EVAL, Mode.PREDICT):
            training = history.flag("training", mode)
            if not len(training):
                continue
            awake = np.zeros(len(training))
            for name in ("batchnorm_training", "dropout_training"):
                layers = history.flag(name, mode)
                if len(layers) == len(training):
                    awake = np.maximum(awake, np.nan_to_num(layers.values[:, 0]))
            # A training whose backward pass is missing only looks like an evaluation.
            trained = np.isin(training.forwards, history.flag("stepped", mode).forwards)
            held = (training.values[:, 0] > 0) & (awake > 0) & ~trained
            labelled = np.isin(training.forwards, history.scalar("loss", mode).forwards)
            for known, what in ((labelled, "evaluation"), (~labelled, "prediction")):
                if (held & known).sum() >= FORWARDS:
                    yield self._finding(training.at(known), held[known], what)

    def _finding(self, training: Series, held: npt.NDArray[np.bool_], what: str) -> Finding:
        steps = training.steps
        once = what == "prediction" and len(np.unique(steps[held])) < 2
        return Finding(
            rule=self.name,
            where=what,
            severity=Severity.INFO if once else Severity.WARNING,
            title=(
                f"{int(held.sum()):,} of {len(held):,} forwards of {what} ran in training mode, "
                "with Dropout or BatchNorm still training."
            ),
            causes=(
                Cause(
                    name="eval-mode-missing",
                    text=f"model.eval() is not called before {what}.",
                    fix=(
                        "Call model.eval() before the evaluation's first batch and model.train() "
                        "after its last."
                    ),
                    score=0.6 if once else 0.97,
                    evidence=f"The root module's training flag is True at step {steps[held][0]}.",
                    change={"model.eval": True},
                ),
            ),
            count=int(held.sum()),
            first_step=int(steps[held][0]),
            last_step=int(steps[held][-1]),
            measured=float(held.mean()),
            threshold=0.0,
            plot=line_plot(steps, {"in training mode": held.astype(float)}),
        )


def _functional(history: History, rate: float) -> Finding:
    accuracy = history.scalar("accuracy")
    return Finding(
        rule=EvalModeMissing.name,
        where="functional dropout",
        severity=Severity.WARNING,
        title=f"F.dropout takes away {rate:.0%} of the features in evaluation mode too.",
        causes=(
            Cause(
                name="eval-mode-missing",
                text="F.dropout(x, p) drops whatever mode the network is in, unless it is told.",
                fix="Write F.dropout(x, p, training=self.training), or use nn.Dropout(p).",
                score=0.96,
                evidence="It was called with training=True while the root module's was False.",
                change={"dropout.training": "self.training"},
            ),
        ),
        count=max(len(accuracy), 1),
        first_step=0,
        last_step=history.last_step,
        measured=rate,
        threshold=0.0,
        plot=line_plot(accuracy.steps, {"training accuracy": accuracy.of("accuracy")})
        if len(accuracy)
        else {},
    )
