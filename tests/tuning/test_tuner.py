"""The search: order, failures, resuming, parallel trials, stopping."""

from __future__ import annotations

import importlib
import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from houndsight.errors import RunError, SettingError
from houndsight.events import Event, StageEnded, StageProgress, StageStarted
from houndsight.tuning import (
    CategoricalParameter,
    ContinuousParameter,
    EarlyStopping,
    Hyperband,
    IntegerParameter,
    Trial,
    TrialRecord,
    TrialState,
    Tuner,
    TuningError,
)

SPACE = {
    "rate": ContinuousParameter(0.001, 0.1, "logarithmic"),
    "size": CategoricalParameter([32, 64, 128]),
}


def loss_of(parameters: Mapping[str, object]) -> float:
    rate, size = parameters["rate"], parameters["size"]
    assert isinstance(rate, float)
    return math.log10(rate / 0.02) ** 2 + 0.1 * (size != 64)


def evaluate(trial: Trial) -> dict[str, float]:
    return {"nll": loss_of(trial.parameters), "top1": 0.5}


def tuner(trials: int = 12, **options: object) -> Tuner:
    given = {"objective": "nll", "direction": "minimize", "trials": trials} | options
    return Tuner(SPACE, given.pop("strategy", "bayesian"), **given)  # type: ignore[arg-type]


def tried(result: object) -> list[tuple[int, dict[str, object], float | None]]:
    return [(r.number, dict(r.parameters), r.value) for r in result.trials]  # type: ignore[attr-defined]


def test_it_finds_the_minimum_and_says_why_it_ended() -> None:
    result = tuner(30).run(evaluate)
    assert result.best.value is not None and result.best.value < 0.05
    assert result.reason == "all trials done"
    assert [r.number for r in result.trials] == list(range(30))


def test_maximising_is_the_mirror_image() -> None:
    down = tuner().run(evaluate)
    up = tuner(direction="maximize").run(lambda t: {"nll": -loss_of(t.parameters)})
    assert [r.parameters for r in up.trials] == [r.parameters for r in down.trials]
    assert up.best.number == down.best.number


def test_parallel_trials_do_not_depend_on_timing() -> None:
    def slow(trial: Trial) -> dict[str, float]:
        time.sleep(0.002 * (trial.number * 7 % 5))
        return evaluate(trial)

    quick = tuner(14, parallel=4).run(evaluate)
    assert tried(tuner(14, parallel=4).run(slow)) == tried(quick)


def test_parallel_trials_run_at_once() -> None:
    barrier = threading.Barrier(3, timeout=30)

    def together(trial: Trial) -> dict[str, float]:
        if trial.number < 3:
            barrier.wait()
        return evaluate(trial)

    result = tuner(5, parallel=3).run(together)
    assert all(r.state == TrialState.COMPLETED for r in result.trials)


FRAGILE = """
    import os, signal

    def evaluate(trial):
        if trial.number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        trial.report(1.0, step=1)
        return {"nll": 1.0, "pid": float(os.getpid())}
"""


def test_processes_shield_the_search_from_a_death(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fragile_trial.py").write_text(textwrap.dedent(FRAGILE))
    monkeypatch.syspath_prepend(tmp_path)
    fragile = importlib.import_module("fragile_trial")
    result = tuner(3, parallel=2, processes=True).run(fragile.evaluate)
    assert [r.state for r in result.trials] == ["completed", "failed", "completed"]
    assert "exit code -9" in result.trials[1].error
    assert result.trials[0].metrics["pid"] != os.getpid()
    assert result.trials[0].intermediate == ((1, 1.0),)


def test_processes_need_something_picklable() -> None:
    with pytest.raises(SettingError, match="top of a module"):
        tuner(2, processes=True).run(lambda t: {"nll": 1.0})


def test_a_failing_trial_hurts_nothing() -> None:
    def fragile(trial: Trial) -> dict[str, float]:
        if trial.number in (0, 3):
            raise RuntimeError("out of memory")
        if trial.number == 4:
            return {"nll": math.nan}
        if trial.number == 5:
            return {"loss": 1.0}
        if trial.number == 6:
            return None  # type: ignore[return-value]
        return evaluate(trial)

    result = tuner().run(fragile)
    errors = {r.number: r.error for r in result.trials if r.state == TrialState.FAILED}
    assert errors[3] == "RuntimeError: out of memory"
    assert errors[4] == "nll is nan"
    assert errors[5] == "the trial returned loss but no nll"
    assert "not a number by metric name" in errors[6]
    assert result.best.state == TrialState.COMPLETED


def test_all_failing_is_a_sentence_and_ends_early() -> None:
    calls = []

    def broken(trial: Trial) -> dict[str, float]:
        calls.append(trial.number)
        raise ValueError("no such optimiser")

    with pytest.raises(TuningError, match=r"All 5 trials .* no such optimiser"):
        tuner(100).run(broken)
    assert len(calls) == 5


def test_batches_are_evaluated_together_and_fail_alone() -> None:
    sizes = []

    def together(batch: Sequence[Mapping[str, object]]) -> list[Mapping[str, float]]:
        sizes.append(len(batch))
        if any(p["size"] == 128 for p in batch):
            raise RuntimeError("no room for 128")
        return [{"nll": loss_of(p)} for p in batch]

    result = tuner(10).run_batches(together, batch=4)
    assert len(result.trials) == 10
    assert max(sizes) == 4
    for record in result.trials:
        assert (record.state == TrialState.FAILED) == (record.parameters["size"] == 128)


def test_ask_and_tell() -> None:
    asking = tuner(6)
    while trials := asking.ask(4):
        for trial in trials:
            asking.tell(trial, RuntimeError("x") if trial.number == 2 else evaluate(trial))
    result = asking.result()
    assert [r.number for r in result.trials] == list(range(6))
    assert result.trials[2].state == TrialState.FAILED


@pytest.mark.parametrize("cut", [0, 1, 5, 11, 12])
@pytest.mark.parametrize("how", ["one by one", "parallel", "batches"])
def test_a_cut_off_search_goes_on_as_it_would_have(tmp_path: Path, how: str, cut: int) -> None:
    def run(log: Path, counted: list[int]) -> object:
        searching = tuner(12, log=log, parallel=3 if how == "parallel" else 1)

        def count(trial: Trial) -> dict[str, float]:
            counted.append(trial.number)
            return evaluate(trial)

        def batch(parameters: Sequence[Mapping[str, object]]) -> list[dict[str, float]]:
            counted.extend(range(len(parameters)))
            return [{"nll": loss_of(p)} for p in parameters]

        if how == "batches":
            return searching.run_batches(batch, batch=4)
        return searching.run(count)

    whole = tmp_path / "whole.jsonl"
    expected = run(whole, [])
    lines = sorted(whole.read_text().splitlines(), key=lambda line: json.loads(line)["number"])
    kept = [line for n, line in enumerate(lines) if n < cut or (how == "parallel" and n == cut + 1)]
    part = tmp_path / "part.jsonl"
    part.write_text("".join(f"{line}\n" for line in kept) + '{"v": 1, "number": 99, "para')
    counted: list[int] = []
    assert tried(run(part, counted)) == tried(expected)
    assert len(counted) == 12 - len(kept)


SCRIPT = """
    import sys, time
    from pathlib import Path
    from houndsight.tuning import CategoricalParameter, ContinuousParameter, Tuner

    space = {"rate": ContinuousParameter(0.001, 0.1, "logarithmic"),
             "size": CategoricalParameter([32, 64, 128])}
    started = Path(sys.argv[2])

    def evaluate(trial):
        with started.open("a") as file:
            file.write(f"{trial.number}\\n")
        time.sleep(float(sys.argv[3]))
        return {"nll": (trial.parameters["rate"] - 0.02) ** 2 + (trial.parameters["size"] != 64)}

    result = Tuner(space, objective="nll", direction="minimize", trials=14,
                   log=Path(sys.argv[1])).run(evaluate)
    print([(r.number, r.parameters, r.value) for r in result.trials], result.best.number)
"""


def test_sigkill_repeats_at_most_the_trial_in_flight(tmp_path: Path) -> None:
    script = tmp_path / "search.py"
    script.write_text(textwrap.dedent(SCRIPT))

    def command(name: str, seconds: float) -> list[str]:
        files = [str(tmp_path / f"{name}.jsonl"), str(tmp_path / f"{name}.started")]
        return [sys.executable, str(script), *files, str(seconds)]

    expected = subprocess.run(command("whole", 0), capture_output=True, text=True, check=True)
    log = tmp_path / "killed.jsonl"
    process = subprocess.Popen(command("killed", 0.05), stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while (len(log.read_bytes().splitlines()) if log.exists() else 0) < 5:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    resumed = subprocess.run(command("killed", 0), capture_output=True, text=True, check=True)
    assert resumed.stdout == expected.stdout
    started = (tmp_path / "killed.started").read_text().split()
    assert len(started) <= 14 + 1
    assert set(started) == {str(n) for n in range(14)}


def test_resuming_after_every_trial_failed_tries_again(tmp_path: Path) -> None:
    def broken(trial: Trial) -> dict[str, float]:
        raise ValueError("no disk")

    log = tmp_path / "trials.jsonl"
    with pytest.raises(TuningError):
        tuner(6, log=log).run(broken)
    assert len(tuner(6, log=log).run(evaluate).trials) == 6
    assert all(r.value is not None for r in tuner(6, log=log).run(evaluate).trials)


def test_a_log_of_another_search_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "trials.jsonl"
    tuner(3, log=log).run(evaluate)
    other = {"depth": IntegerParameter(1, 3)}
    with pytest.raises(TuningError, match="another search space"):
        Tuner(other, objective="nll", direction="minimize", trials=3, log=log)
    with pytest.raises(TuningError, match="without ece"):
        tuner(3, log=log, objective="ece")
    log.write_text('{"v": 2, "number": 0}\n')
    with pytest.raises(RunError, match="newer"):
        tuner(3, log=log)


def test_the_log_reads_as_the_format_says(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "trials.jsonl"
    tuner(2, log=log).run(lambda t: evaluate(t) | {"odd": math.inf})
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    keys = {"number", "parameters", "metrics", "value", "state", "seconds", "started"}
    assert keys <= set(rows[0])
    assert rows[0]["metrics"]["odd"] == "inf"
    assert rows[1]["state"] == "completed"


def test_a_warm_start_learns_from_what_fits() -> None:
    earlier = tuner(15).run(evaluate).trials
    strange = TrialRecord(
        number=0, parameters={"rate": 9.0, "size": 1}, state=TrialState.COMPLETED, value=0.0
    )
    warm = tuner(5, warm_start=[*earlier, strange]).run(evaluate)
    cold = tuner(5).run(evaluate)
    assert len(warm.trials) == 5
    assert tried(warm) != tried(cold)
    assert min(r.value or 0 for r in warm.trials) < 0.3


def test_given_points_come_first_and_are_checked() -> None:
    point = {"rate": 0.02, "size": 64}
    assert dict(tuner(3, given=[point]).run(evaluate).trials[0].parameters) == point
    with pytest.raises(SettingError, match="size is 5"):
        tuner(3, given=[{"rate": 0.02, "size": 5}])


def test_the_grid_is_covered_once_and_then_ends() -> None:
    result = Tuner(
        {"a": CategoricalParameter([1, 2, 3]), "b": IntegerParameter(0, 1)},
        "grid",
        objective="x",
        direction="minimize",
        trials=50,
    ).run(lambda t: {"x": 1.0})
    assert result.reason == "nothing left to try"
    assert len({tuple(r.parameters.values()) for r in result.trials}) == 6 == len(result.trials)


def test_patience_ends_the_search() -> None:
    stop = EarlyStopping(patience=4)
    result = tuner(50, early_stopping=stop).run(lambda t: {"nll": float(t.number != 2)})
    assert len(result.trials) == 7
    assert result.reason == "no better trial among the last 4"


def test_the_median_rule_stops_bad_trials() -> None:
    def learn(trial: Trial) -> dict[str, float]:
        for epoch in range(1, 6):
            trial.report(trial.number + 1 / epoch, step=epoch)
            if trial.should_stop():
                return {"nll": trial.number + 1 / epoch}
        return {"nll": trial.number + 0.2}

    result = tuner(10, early_stopping=EarlyStopping(trials="median")).run(learn)
    assert [r.state for r in result.trials] == ["completed"] * 5 + ["stopped"] * 5
    assert len(result.trials[9].intermediate) == 1
    assert result.best.number == 0


def test_hyperband_spends_less_than_whole_trials() -> None:
    def learn(trial: Trial) -> dict[str, float]:
        for epoch in range(1, 10):
            trial.report(loss_of(trial.parameters) + 1 / epoch, step=epoch)
            if trial.should_stop():
                break
        return {"nll": loss_of(trial.parameters) + 1 / epoch}

    result = tuner(30, strategy=Hyperband(max_resource=9)).run(learn)
    epochs = sum(len(r.intermediate) for r in result.trials)
    assert epochs < 0.7 * 30 * 9
    assert result.best.state == TrialState.COMPLETED


def test_ties_go_to_the_other_figure_then_to_the_earlier_trial() -> None:
    figures = [(0.5, 0.8), (0.50005, 0.9), (0.50005, 0.9), (0.6, 1.0)]
    result = tuner(4, tie_breakers=[("top1", "maximize")], tolerance=1e-3).run(
        lambda t: dict(zip(("nll", "top1"), figures[t.number], strict=True))
    )
    assert result.best.number == 1


def test_progress_is_told_by_events() -> None:
    heard: list[Event] = []
    tuner(4).run(evaluate, listener=heard.append)
    assert isinstance(heard[0], StageStarted) and heard[0].total == 4
    assert isinstance(heard[-1], StageEnded) and "best nll" in heard[-1].text
    done = [event.done for event in heard if isinstance(event, StageProgress)]
    assert done == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"direction": "up"}, "minimize or maximize"),
        ({"strategy": "genetic"}, "bayesian, random, grid, hyperband"),
        ({"trials": 0}, "trials is 0"),
        ({"parallel": 0}, "parallel is 0"),
    ],
)
def test_wrong_settings_are_sentences(options: dict[str, object], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        tuner(**options)  # type: ignore[arg-type]


def test_interrupting_the_person_is_no_failed_trial(tmp_path: Path) -> None:
    def interrupted(trial: Trial) -> dict[str, float]:
        if trial.number == 2:
            raise KeyboardInterrupt
        return evaluate(trial)

    log = tmp_path / "trials.jsonl"
    with pytest.raises(KeyboardInterrupt):
        tuner(5, log=log).run(interrupted)
    assert len(log.read_text().splitlines()) == 2
