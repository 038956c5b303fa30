"""A control plane as a process: `control.py HOME JOB...` makes what is not there, awaits all.

Each JOB is `NAME:LINES`, a script that says that it runs, and prints so many lines.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path

import sqlalchemy as sa
from small_platform import make_service, make_spec, wait_ended
from stand_ins import mortal

from houndsight.jobs.states import ExistsError

SCRIPT = """
import os, time
with open({runs!r}, "a") as file:
    file.write({name!r} + chr(10))
for number in range({lines}):
    print("line", number, "loss=" + str(number), flush=True)
    time.sleep(0.01)
"""


def main(home: Path, jobs: list[str]) -> None:
    note = mortal("control")
    service = make_service(home)
    sa.event.listen(service.store._engine, "commit", lambda _: note("commit"))
    service.start()
    for job in jobs:
        name, _, lines = job.partition(":")
        script = SCRIPT.format(runs=str(home / "runs"), name=name, lines=lines)
        with contextlib.suppress(ExistsError):
            service.create_training_job(make_spec(name, script, parallel_jobs=2), {})
    ended = {job.partition(":")[0]: wait_ended(service, job.partition(":")[0]) for job in jobs}
    print(json.dumps({name: status.to_json() for name, status in ended.items()}))
    service.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
