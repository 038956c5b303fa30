"""Dropout leaves the network too little to learn from."""

from __future__ import annotations

from collections.abc import Iterable

from houndsight.debugger.conditions import line_plot
from houndsight.debugger.examples import batches, class_count, joined, passes, share_awake, tail
from houndsight.debugger.history import History
from houndsight.debugger.rules.base import Rule
from houndsight.debugger.structure import ModuleRecord
from houndsight.findings import Cause, Finding, Severity
from houndsight.wording import number

__all__ = ["DropoutTooStrong"]

STRONG = 0.6
EXTREME = 0.9
STEPS = 60
GAP = 0.2
SHARES = ("prob", "rate", "drop", "keep", "surviv", "share")


class DropoutTooStrong(Rule):
    """So much is dropped that the network underfits: in training it sees a fraction of its
    features, and its answers are much worse than without dropout.

    Condition: a Dropout, `F.dropout`, or a module that leaves whole blocks out (stochastic depth,
    DropPath) takes away nine tenths or more; or six tenths or more and, after 60
    steps, the training accuracy is 20 points below that of evaluation; or one stands behind the
    layer that makes the outputs, where it takes whole answers away.

    Source: Srivastava et al., Dropout (JMLR 2014), section 7.3: 0.2 to 0.5 is good, and error
    rises steeply where less than a fifth of the units is kept.
    """

    name = "DropoutTooStrong"

    def not_applicable(self, history: History) -> str:
        """There must be a Dropout."""
        return "" if _rates(history) else "The network has no Dropout."

    def evaluate(self, history: History) -> Iterable[Finding]:
        """One finding, for the strongest Dropout."""
        rates = _at_work(history)
        if not rates:
            return
        last = _behind_head(history)
        if last in rates:
            yield _finding_behind(history, last, rates[last])
            return
        where = max(rates, key=lambda name: rates[name])
        rate, gap = rates[where], _gap(history)
        if rate < EXTREME and not (rate >= STRONG and gap > GAP):
            return
        accuracy = history.scalar("accuracy")
        yield Finding(
            rule=self.name,
            where=where,
            severity=Severity.WARNING,
            title=(
                f"{_kind(history, where)} takes away {rate:.0%} of the features"
                + (f", and training is {gap:.0%} less accurate than evaluation" if gap > 0 else "")
                + "."
            ),
            causes=(
                Cause(
                    name="dropout-too-strong",
                    text="In PyTorch the rate is the share that is dropped, not the share kept.",
                    fix=f"Lower the rate from {number(rate)} to {0.2 if rate < EXTREME else 0.1}.",
                    score=0.92,
                    evidence=f"p = {number(rate)}.",
                    change={"dropout": 0.2 if rate < EXTREME else 0.1},
                ),
            ),
            count=max(len(accuracy), 1),
            first_step=0 if history.last_step else None,
            last_step=history.last_step or None,
            measured=rate,
            threshold=EXTREME if rate >= EXTREME else STRONG,
            plot=line_plot(accuracy.steps, {"training accuracy": accuracy.values[:, 0]})
            if len(accuracy)
            else {},
        )


def _rates(history: History) -> dict[str, float]:
    rates = {
        m.name: _rate(m)
        for m in history.structure.modules
        if "drop" in m.kind.lower() or m.kind == "StochasticDepth"
    }
    if history.structure.functional_dropout:
        rates["F.dropout"] = history.structure.functional_dropout
    return {name: rate for name, rate in rates.items() if 0 <= rate <= 1}


def _rate(module: ModuleRecord) -> float:
    """`p` of a Dropout; of others, such as a DropPath, the only number that is called a share."""
    if isinstance(module.settings.get("p"), int | float):
        return float(module.settings["p"])
    shares = {
        name: value
        for name, value in module.settings.items()
        if isinstance(value, float) and any(part in name.lower() for part in SHARES)
    }
    if len(shares) != 1:
        return 0.0
    name, share = next(iter(shares.items()))
    return 1 - share if "keep" in name or "surviv" in name else share


def _at_work(history: History) -> dict[str, float]:
    """Those that drop in training; of other modules than Dropout it is believed."""
    awake = share_awake(history, "dropout_training") >= 0.5
    modules = {m.name: m.kind for m in history.structure.modules}
    rates = _rates(history)
    return {n: rate for n, rate in rates.items() if awake or "Dropout" not in modules.get(n, "")}


def _kind(history: History, where: str) -> str:
    module = history.structure.module(where)
    return f"{module.kind} {where}" if module is not None else where


def _behind_head(history: History) -> str:
    """The Dropout that is called last of all modules, after the head; empty without one."""
    called = history.structure.in_order()
    if len(called) < 2 or "Dropout" not in called[-1].kind:
        return ""
    head = called[-2]
    behind = head.name == history.structure.head != ""
    # A layer of another width makes no answers: those come from a function after the Dropout.
    width, classes = head.settings.get("out_features"), class_count(history)
    if isinstance(width, int) and classes and width != classes:
        return ""
    return called[-1].name if behind and float(called[-1].settings.get("p") or 0) > 0 else ""


def _finding_behind(history: History, where: str, rate: float) -> Finding:
    accuracy = history.scalar("accuracy")
    return Finding(
        rule=DropoutTooStrong.name,
        where=where,
        severity=Severity.WARNING,
        title=f"Dropout {where} sets {rate:.0%} of the network's outputs to 0.",
        causes=(
            Cause(
                name="dropout-too-strong",
                text="Dropout stands behind the last layer: it takes answers away, and the loss "
                "asks for classes whose output is 0.",
                fix="Take it out, or put it before the last Linear layer.",
                score=0.95,
                evidence=f"{where} is called last, after {history.structure.head}.",
                change={"remove": "Dropout"},
            ),
        ),
        count=max(len(accuracy), 1),
        first_step=0,
        last_step=history.last_step,
        measured=rate,
        threshold=0.0,
        plot=line_plot(accuracy.steps, {"training accuracy": accuracy.values[:, 0]})
        if len(accuracy)
        else {},
    )


def _gap(history: History) -> float:
    """Accuracy of the last evaluation less that of the training batches before it."""
    asked = [one for one in passes(history) if one.judged and one.step >= STEPS]
    if not asked:
        return 0.0
    before = [b for b in batches(history) if b.judged and b.step < asked[-1].step]
    return asked[-1].accuracy - joined(tail(before, 0.1, 3)).accuracy if before else 0.0
