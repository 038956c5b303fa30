"""The network gives nearly every photo the same answer."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from houndsight.debugger.examples import (
    Examples,
    Floats,
    batches,
    class_count,
    class_name,
    effective_classes,
    joined,
    passes,
    shares,
    tail,
    warming_up,
)
from houndsight.debugger.history import History
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.rules.common_causes import learning_rate_too_high, learning_rate_too_low
from houndsight.findings import Cause, Finding, Severity

__all__ = ["ClassCollapse"]

STEPS = 60
EXAMPLES = 100
VARIETY = 0.25
USUAL = 0.6
LAST_SHARE = 0.25
LEAST_BATCH = 8
FALLING = 0.97


class ClassCollapse(Rule):
    """The network answers one or a few classes whatever it is shown. That is how every training
    begins; where it stays so, outputs no longer depend on the photo, or the loss is served best by
    the most frequent class.

    Condition, from 60 steps and 100 examples on: the variety of the answers, exp(entropy) of
    their shares less 1, is below a quarter of that of the labels, or most batches get one answer
    each; the training loss of the last quarter is no lower than 97 % of that of the quarter
    before; and a warm-up is over. Or only evaluation is so, in its last two passes, while the
    answers in training have 60 % of the labels' variety.

    Source: ours; exp(entropy) is the effective number of classes (Hill, 1973).
    """

    name = "ClassCollapse"

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for training or for evaluation alone."""
        classes = class_count(history)
        trained = [b for b in batches(history) if b.judged]
        if classes < 2 or not trained or trained[-1].step + 1 < STEPS or warming_up(history):
            return
        late = tail(trained, LAST_SHARE)
        before = tail(trained[: -len(late)], LAST_SHARE / (1 - LAST_SHARE))
        recent, variety = joined(late), _within(late, classes)
        if len(recent.labels) >= EXAMPLES and variety < VARIETY:
            if _within(before, classes) < 2 * VARIETY and not _falling(history):
                yield self._finding(history, recent, classes, variety, "", _start(trained, classes))
            return
        asked = [p for p in passes(history) if p.judged and p.step >= STEPS][-2:]
        if len(asked) < 2 or min(len(p.labels) for p in asked) < EXAMPLES or variety < USUAL:
            return
        worst = max(_variety(p, classes) for p in asked)
        if worst < VARIETY:
            yield self._finding(history, asked[-1], classes, worst, "evaluation", asked[0].step)

    def _finding(
        self,
        history: History,
        examples: Examples,
        classes: int,
        variety: float,
        where: str,
        first: int,
    ) -> Finding:
        answered, asked = shares(examples.predictions, classes), shares(examples.labels, classes)
        top = int(answered.argmax())
        causes = _evaluation_causes() if where else _causes(history, asked, top)
        return Finding(
            rule=self.name,
            where=where,
            severity=Severity.WARNING,
            title=(
                f"{answered[top]:.0%} of the last {len(examples.labels):,} answers"
                f"{' in evaluation' if where else ''} are {class_name(history, top)}, which "
                f"{asked[top]:.0%} of the photos show"
                + (", and a batch gets one answer as a whole." if variety == 0 else ".")
            ),
            causes=causes,
            count=max(examples.step - first + 1, 1),
            first_step=first,
            last_step=examples.step,
            measured=variety,
            threshold=VARIETY,
            plot={"bars": answered[:200].round(5).tolist(), "of": "share of the answers"},
        )


def _within(parts: list[Examples], classes: int) -> float:
    """Variety of the answers; 0 where most batches of eight or more get a single answer each."""
    large = [part for part in parts if len(part.labels) >= LEAST_BATCH]
    single = [len(np.unique(part.predictions)) == 1 < len(np.unique(part.labels)) for part in large]
    return 0.0 if single and np.mean(single) > 0.5 else _variety(joined(parts), classes)


def _variety(examples: Examples, classes: int) -> float:
    """Variety of the answers over that of the labels, 1 when they are as mixed."""
    labels = effective_classes(examples.labels, classes) - 1
    answers = effective_classes(examples.predictions, classes) - 1
    return max(answers, 0.0) / labels if labels > 0.05 else 1.0


def _falling(history: History) -> bool:
    loss = history.scalar("loss").values
    loss = loss[np.isfinite(loss)]
    quarter = len(loss) // 4
    if quarter < 5:
        return True
    now, then = float(loss[-quarter:].mean()), float(loss[-2 * quarter : -quarter].mean())
    return now < FALLING * then


def _start(trained: list[Examples], classes: int) -> int:
    """First step of the stretch, up to now, in which answers lack variety."""
    for at in range(len(trained) - 1, -1, -1):
        group = trained[max(at - 9, 0) : at + 1]
        if _variety(joined(group), classes) >= 2 * VARIETY:
            return trained[at].step + 1
    return trained[0].step


def _causes(history: History, asked: Floats, top: int) -> tuple[Cause, ...]:
    common = float(asked[top]) > 2 / max(int((asked > 0).sum()), 1)
    still = "The answers stay the same although the loss does not fall."
    causes = [
        learning_rate_too_high(history, still, 0.5),
        Cause(
            name="class-imbalance",
            text="One class is so frequent that naming it always serves the loss.",
            fix="Weight the loss by class, or draw the classes evenly.",
            score=0.65 if common else 0.1,
            evidence=f"The class answered makes up {float(asked[top]):.0%} of the labels.",
            change={"balance": "weights"},
        ),
        Cause(
            name="labels-shuffled",
            text="The labels do not belong to the photos, and nothing can be learnt from them.",
            fix="Look at twenty photos with their labels just before the network.",
            score=0.3,
            evidence=still,
        ),
        learning_rate_too_low(history, still, 0.25),
    ]
    return tuple(sorted(causes, key=lambda cause: -cause.score))


def _evaluation_causes() -> tuple[Cause, ...]:
    evidence = "In training the answers are as mixed as the labels."
    return (
        Cause(
            name="preprocessing-differs",
            text="Evaluation's photos are prepared in another way than training's.",
            fix="Give evaluation the same scaling and normalisation as training.",
            score=0.6,
            evidence=evidence,
        ),
        Cause(
            name="batchnorm-momentum",
            text="BatchNorm's running statistics do not fit.",
            fix="Set BatchNorm's momentum to 0.1 and train more steps before evaluating.",
            score=0.5,
            evidence=evidence,
            change={"batchnorm.momentum": 0.1},
        ),
    )
