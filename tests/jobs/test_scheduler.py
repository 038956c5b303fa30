"""Who may start, with how much, and what the others wait for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from houndsight.jobs.engine import Allotment
from houndsight.jobs.instances import advice, instance
from houndsight.jobs.machine import Machine
from houndsight.jobs.scheduler import Scheduler, demand_of
from houndsight.jobs.spec import TrainingSpec

GB = 1 << 30
LAPTOP = Machine(cores=8, memory_bytes=16 * GB)
SERVER = Machine(cores=16, memory_bytes=64 * GB, gpus=(0, 1))


def spec(name: str = "a", **changes: object) -> TrainingSpec:
    return TrainingSpec(name=name, arn="", image="", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("parallel", "cores"), [(1, 8), (2, 4), (3, 2), (8, 1), (100, 1)])
def test_jobs_of_a_tuning_job_share_the_machine(parallel: int, cores: int) -> None:
    scheduler = Scheduler(LAPTOP)
    for number in range(parallel + 5):
        scheduler.add(str(number), spec(parallel_jobs=parallel))
    started = scheduler.startable()
    assert {allotment.cores for _, allotment in started} == {cores}
    assert len(started) == min(parallel, 8) if 8 % min(parallel, 8) == 0 else 8 // cores


def test_a_job_alone_has_the_machine_and_the_next_says_what_it_waits_for() -> None:
    scheduler = Scheduler(LAPTOP)
    scheduler.add("first", spec())
    scheduler.add("second", spec())
    assert [name for name, _ in scheduler.startable()] == ["first"]
    said = scheduler.waits_for("second")
    assert said.startswith("Waiting for 8 cores and ") and said.endswith("held by first.")
    scheduler.release("first")
    assert [name for name, _ in scheduler.startable()] == ["second"]
    assert scheduler.waits_for("second") == ""


def test_gpus_are_given_out_one_by_one() -> None:
    scheduler = Scheduler(SERVER)
    for name in "abc":
        scheduler.add(name, spec(instance_type="ml.g4dn.xlarge", parallel_jobs=3))
    started = dict(scheduler.startable())
    assert {name: a.gpus for name, a in started.items()} == {"a": (0,), "b": (1,)}
    assert "1 GPU, held by a, b" in scheduler.waits_for("c")
    scheduler.release("a")
    assert scheduler.startable()[0][1].gpus == (0,)


def test_a_gpu_type_runs_on_the_processor_where_there_is_no_gpu() -> None:
    assert demand_of(spec(instance_type="ml.p3.8xlarge"), LAPTOP).gpus == 0
    scheduler = Scheduler(LAPTOP)
    scheduler.add("a", spec(instance_type="ml.p3.8xlarge", instance_count=2))
    assert scheduler.startable()[0][1] == Allotment(cores=8, memory_bytes=16 * GB)


def test_endpoints_take_memory_and_no_slot_and_are_never_waited_for() -> None:
    scheduler = Scheduler(LAPTOP)
    scheduler.reserve("endpoint", 15 * GB)
    scheduler.reserve("another", 15 * GB)
    scheduler.add("a", spec(instance_type="ml.m5.24xlarge"))
    name, allotment = scheduler.startable()[0]
    assert (name, allotment.cores) == ("a", 8)
    assert allotment.memory_bytes == 1 * GB


def test_what_a_waiting_job_needs_is_kept_for_it() -> None:
    scheduler = Scheduler(LAPTOP)
    scheduler.hold("running", Allotment(cores=4, memory_bytes=GB))
    scheduler.add("large", spec())
    scheduler.add("small", spec(parallel_jobs=8, instance_type="ml.t3.medium"))
    assert scheduler.startable() == []
    assert scheduler.waits_for("small") == "Waiting for its turn behind large."


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ml.m5.large", "ml.g5.xlarge", "ml.p3.16xlarge", "local", ""]),
            st.integers(1, 4),
            st.integers(1, 20),
        ),
        max_size=12,
    ),
    st.sampled_from([LAPTOP, SERVER, Machine(1, GB // 2)]),
    st.integers(0, 100 * GB),
)
def test_nothing_is_given_out_twice_and_everybody_gets_a_turn(
    jobs: list[tuple[str, int, int]], machine: Machine, endpoints: int
) -> None:
    scheduler = Scheduler(machine)
    scheduler.reserve("endpoint", endpoints)
    for number, (kind, count, parallel) in enumerate(jobs):
        scheduler.add(
            str(number), spec(instance_type=kind, instance_count=count, parallel_jobs=parallel)
        )
    served: list[str] = []
    while scheduler.queued or scheduler.running:
        scheduler.startable()
        running = scheduler.running
        assert running, "somebody always runs"
        assert sum(a.cores for a in running.values()) <= machine.cores
        gpus = [gpu for a in running.values() for gpu in a.gpus]
        assert len(gpus) == len(set(gpus))
        served.append(next(iter(running)))
        scheduler.release(served[-1])
    assert sorted(served, key=int) == [str(number) for number in range(len(jobs))]


def test_instance_types_are_known_by_their_rule() -> None:
    m5 = instance("ml.m5.2xlarge")
    assert m5 is not None
    assert (m5.cores, m5.memory_bytes, m5.gpus) == (8, 32 * GB, 0)
    gpus = {n: getattr(instance(n), "gpus", None) for n in ("ml.p3.2xlarge", "ml.g5.12xlarge")}
    assert gpus == {"ml.p3.2xlarge": 1, "ml.g5.12xlarge": 4}
    assert instance("local_gpu") is None


@pytest.mark.parametrize(
    ("kind", "machine", "said"),
    [
        ("ml.m5.large", LAPTOP, ""),
        ("ml.m5.24xlarge", LAPTOP, "the job gets what is there"),
        ("ml.g4dn.xlarge", LAPTOP, "the script runs on the processor"),
        ("ml.p3.8xlarge", replace(SERVER, cores=64), "the job gets 2 GPUs"),
        ("ml.r5.2xlarge", LAPTOP, "the memory that is there"),
        ("ml.nonsense", LAPTOP, "no instance type known here"),
    ],
)
def test_what_is_asked_beyond_the_machine_is_said(kind: str, machine: Machine, said: str) -> None:
    text = advice(kind, 1, machine)
    assert (said in text) if said else text == ""
