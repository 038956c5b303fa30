"""Claim: nearly every harmful fault is found, with the right cause and a fix that works, and
healthy trainings are left in peace.

190 kinds of fault (fault_suite/registry.py) are injected into trainings of 30 small networks on
23 data sets, from scratch and as transfer learning, with SGD and Adam. Each training is
recorded once and judged by replay. Kinds, networks and data sets are split beforehand
(fault_suite/split.py): rules were tuned on one part, the headline is of the other.

- Harm: at least 3 points of accuracy and 2 pooled standard deviations over seeds below the
  healthy twin, which has the same network, data, optimizer, start and seed. With fewer than
  three seeds the deviation is that of all healthy trainings on the data set.
- Detected: a rule speaks with warning or above that is silent about the twin.
- A cause is right if it is on the fault's list, written before tuning. A fix works if the change
  of the first cause, at most three settings, brings back 80 % of the lost accuracy.
- Beside it the rules of SageMaker Debugger as documented, with their default parameters, and
  with `--peers` trainproof, torch-audit and torchtest2 where they are installed.

    python benchmarks/faults.py --recordings DIR [--hours 3 | --full] [--part tuning|unseen] \
        [--peers 60]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from _common import machine
from fault_suite.figures import by_kind, false_alarms, goals, overall
from fault_suite.judging import Suite
from fault_suite.peers import peers_table
from fault_suite.plan import PARTS, Run, plan
from fault_suite.recordings import Recordings

SHARES = {"tuning": 0.3, "unseen": 0.7}
"""Of the time that a part gets, fixes included."""
FIXES = 0.25


def main() -> None:
    """Record as long as there is time, judge all that is recorded, try the fixes, print."""
    arguments = _arguments()
    torch.set_num_threads(1)
    recordings = Recordings(arguments.recordings)
    recordings.clear_unfinished()
    for part in arguments.part or list(PARTS):
        seconds = arguments.hours * 3600 * SHARES[part]
        runs = list(plan(part, full=arguments.full))
        if not (arguments.replay or arguments.judge):
            record(recordings, runs, None if arguments.full else seconds * (1 - FIXES))
        report(
            part,
            Suite(recordings, runs),
            train=not arguments.replay,
            seconds=None if arguments.full or arguments.judge else seconds * FIXES,
            verbose=arguments.verbose,
            peers=arguments.peers if part == "unseen" else 0,
        )


def record(recordings: Recordings, runs: Sequence[Run], seconds: float | None) -> None:
    """Run what is not recorded yet, in the plan's order, until the time is up."""
    started, missing = time.monotonic(), [r for r in runs if not recordings.get(r.spec, log=True)]
    for number, run in enumerate(missing):
        if seconds is not None and time.monotonic() - started > seconds:
            print(f"Time is up: {len(missing) - number} trainings of the plan are left out.")
            return
        recordings.record(run.spec)


def report(
    part: str, suite: Suite, *, train: bool, seconds: float | None, verbose: bool, peers: int
) -> None:
    """Print what holds of a part."""
    cases = suite.cases()
    harmful = [case for case in cases if case.harmful]
    started = time.monotonic()
    for case in harmful:
        in_time = seconds is None or time.monotonic() - started < seconds
        suite.repair(case, train=train and in_time)
    healthy = suite.healthy()
    pairs = {(run.spec.network, run.spec.data) for run in suite.runs}
    recorded = [suite.recordings.get(run.spec, log=True) for run in suite.runs]
    live = [found.live_equal for found in recorded if found is not None]
    print(f"\n## {part.capitalize()} part\n")
    print(f"{len(suite.runs)} of the plan's {suite.planned} trainings are recorded, of", end=" ")
    print(f"{len(pairs)} combinations of network and data;")
    print(f"{len(cases)} faults of {len({c.run.kind for c in cases})} kinds, of which", end=" ")
    print(f"{len(harmful)} harmful and {len(cases) - len(harmful)} harmless here; {machine()}.")
    print(f"Findings live and by replay were the same in {sum(map(bool, live))} of {len(live)}.\n")
    print(overall(harmful), end="\n\n")
    print(false_alarms(healthy), end="\n\n")
    if peers:
        print(peers_table(cases, suite.recordings, peers), end="\n\n")
    print(by_kind(cases), end="\n\n")
    print("\n".join(goals(harmful, healthy)))
    if verbose:
        _details(suite)


def _details(suite: Suite) -> None:
    print()
    for run, said in suite.healthy():
        if said.loud:
            print("FALSE ALARM", run.kind, *run.spec.cell, run.spec.seed, *said.titles, sep=" | ")
    for case in suite.cases():
        if case.harmful and not case.right(1):
            print(
                "WRONG CAUSE" if case.detected else "MISSED",
                case.run.kind,
                *case.run.spec.cell,
                f"{case.accuracy:.2f} of {case.healthy:.2f}",
                case.said.causes[:4],
                *case.said.titles[:6],
                sep=" | ",
            )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recordings", type=Path, default=Path("runs/faults"))
    parser.add_argument("--hours", type=float, default=3.0, help="for a balanced fraction")
    parser.add_argument("--full", action="store_true", help="run all, however long it takes")
    parser.add_argument("--part", nargs="*", choices=list(PARTS))
    parser.add_argument("--replay", action="store_true", help="run nothing, judge what is there")
    parser.add_argument("--judge", action="store_true", help="record nothing, but try the fixes")
    parser.add_argument(
        "--peers", type=int, default=0, help="let other tools judge so many harmful faults too"
    )
    parser.add_argument("--verbose", action="store_true", help="name each miss and false alarm")
    return parser.parse_args()


if __name__ == "__main__":
    main()
