"""Makes the hosts of a job ready: folders, channels, source, requirements, environment, command."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from houndsight.config import cache_home
from houndsight.jobs.container import drivers, joblog
from houndsight.jobs.container.channels import ChannelCache, ChannelView, make_view, select, shard
from houndsight.jobs.container.checkpoints import restore_checkpoints
from houndsight.jobs.container.command import ContainerError, ForkPlan, HostCommand
from houndsight.jobs.container.config_files import write_config_files, write_hosts_file
from houndsight.jobs.container.distribution import distribution_of
from houndsight.jobs.container.entry import Entry, entry_of
from houndsight.jobs.container.environment import (
    COMPAT_PATH,
    base_environment,
    job_variables,
    sm_variables,
)
from houndsight.jobs.container.host import Host, free_port, make_folders
from houndsight.jobs.container.hyperparameters import Hyperparameters
from houndsight.jobs.container.image import says_what_runs
from houndsight.jobs.container.namespace import ENTER, Isolation, isolation
from houndsight.jobs.container.private import site_overlays
from houndsight.jobs.container.requirements import (
    install_requirements,
    read_requirements,
    write_constraints,
)
from houndsight.jobs.container.source import fetch_source
from houndsight.jobs.container.weights import make_torch_home
from houndsight.jobs.engine import Allotment
from houndsight.jobs.layout import JobFolder
from houndsight.jobs.spec import Channel, TrainingSpec

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["ForkPlan", "HostCommand", "prepare"]

Views = dict[tuple[str, str], ChannelView]
"""By host and channel."""
CONSTRAINTS = "input/config/houndsight-constraints.txt"


def prepare(
    spec: TrainingSpec,
    folder: JobFolder,
    objects: ObjectStore,
    allotment: Allotment,
    *,
    report: Callable[[str], None],
) -> list[HostCommand]:
    """What every host of the job executes, once all that it needs is in place.

    Called again for a job that was interrupted here, it begins again. Lines for the person go to
    the first host's log as they arise; `report` gets what the job is busy with.

    Raises:
        ContainerError: the job cannot be started; the sentence says why, and stands in the log.
    """
    first = folder.host(spec.hosts[0])
    for name in spec.hosts:
        folder.host(name).path.mkdir(parents=True, exist_ok=True)
        folder.host(name).log.touch()
    try:
        return _Preparation(spec, folder, objects, allotment, report).run()
    except ContainerError as error:
        joblog.say(first, str(error), level="ERROR")
        raise


class _Preparation:
    def __init__(
        self,
        spec: TrainingSpec,
        folder: JobFolder,
        objects: ObjectStore,
        allotment: Allotment,
        report: Callable[[str], None],
    ) -> None:
        self.spec, self.folder, self.objects, self.report = spec, folder, objects, report
        self.hyperparameters = Hyperparameters.parse(spec.hyperparameters)
        self.isolation = isolation(folder.path)
        self.hosts = _hosts(spec, folder, allotment, self.hyperparameters, self.isolation)
        self.views: Views = {}

    def run(self) -> list[HostCommand]:
        self._say_what_is_different()
        for host in self.hosts:
            make_folders(host)
            write_config_files(host)
        if self.spec.channels:
            self.report("Downloading input data")
        for channel in self.spec.channels:
            self._bring(channel)
        restore_checkpoints(self.hosts, self.objects)
        fetch_source(self.hosts, self.objects, self.views)
        site = self._install()
        torch_home = make_torch_home(self.folder.path / "torch")
        (self.folder.path / "said").mkdir(exist_ok=True)
        return [self._command(host, site, torch_home) for host in self.hosts]

    def say(self, text: str) -> None:
        """A line in the log of the first host."""
        if text:
            joblog.say(self.hosts[0].folder, text)

    def _say_what_is_different(self) -> None:
        self.say(says_what_runs(self.spec.image))
        if not self.isolation.kind:
            self.say(
                f"This system gives a job no private /opt/ml ({self.isolation.reason}): paths stand"
                " in SM_MODEL_DIR, SM_CHANNEL_…, and a script that names /opt/ml itself finds"
                " nothing there."
            )

    def _bring(self, channel: Channel) -> None:
        items = select(channel, self.objects)
        cache = ChannelCache(cache_home() / "channels")
        sharded = channel.distribution == "ShardedByS3Key"
        for host in self.hosts:
            mine = shard(items, len(self.hosts), host.rank) if sharded else items
            source = cache.materialise(mine, self.objects, self.folder)
            view = make_view(
                source,
                host.folder.ml / "input" / "data" / channel.name,
                host.folder.path / "written" / channel.name,
                overlay=self.isolation.overlay,
            )
            self.views[host.name, channel.name] = view
            if channel.name == drivers.CHANNEL:
                drivers.adapt(view, host)

    def _install(self) -> Path | None:
        """Install `requirements.txt`, of script mode or of SDK 3's source."""
        code, name = self._requirements_file()
        if not (code / name).is_file():
            return None
        requirements = read_requirements(code / name, code)
        for note in requirements.notes:
            self.say(note)
        for host in self.hosts:
            view = self.views.get((host.name, drivers.CODE))
            if self.spec.entrypoint and view is not None:
                view.write(name, requirements.text().encode())
        if not requirements.packages:
            return None
        self.report("Installing requirements.txt")
        return install_requirements(requirements, code, say=self.say, compat=COMPAT_PATH)

    def _requirements_file(self) -> tuple[Path, str]:
        first = self.hosts[0]
        if not self.spec.entrypoint:
            return first.folder.ml / "code", "requirements.txt"
        code = self.views.get((first.name, drivers.CODE))
        name = drivers.requirements_name(self.views.get((first.name, drivers.CHANNEL)))
        return (code.source if code else first.folder.ml / "code"), name or "requirements.txt"

    def _command(self, host: Host, site: Path | None, torch_home: Path) -> HostCommand:
        distribution = distribution_of(self.hyperparameters, len(host.gpus), host.cores)
        if host.rank == 0:
            self.say(distribution.note())
        entry = entry_of(host, distribution)
        environment = self._environment(host, entry, site, torch_home)
        plan = self._plan(host, entry, environment)
        argv = (sys.executable, "-I", "-S", str(ENTER), str(plan), "--", *entry.argv)
        fork = None
        if entry.script_argv is not None and site is None:
            fork = ForkPlan(script=entry.program, argv=entry.script_argv, plan=plan)
        return HostCommand(
            host=host.name,
            argv=argv,
            environment=environment,
            cwd=host.folder.ml / "code",
            forkable=fork,
            namespace=host.private,
        )

    def _environment(
        self, host: Host, entry: Entry, site: Path | None, torch_home: Path
    ) -> dict[str, str]:
        python_path = [host.seen("code")]
        if (host.folder.ml / "code" / "src").is_dir() and not entry.script_argv:
            python_path.append(host.seen("code/src"))
        python_path += [str(site)] if site else []
        python_path.append(str(COMPAT_PATH))
        constraints = write_constraints(host.folder.ml / CONSTRAINTS)
        seen = Path(host.seen(CONSTRAINTS)) if host.private else constraints
        inherited = base_environment(os.environ)
        return {
            **inherited,
            **job_variables(host, python_path, entry.processes),
            "TORCH_HOME": str(torch_home),
            "PIP_CONSTRAINT": seen.as_uri(),
            "PATH": _path(inherited, site),
            **_valid(self.spec.environment),
            **sm_variables(host, entry.program),
        }

    def _plan(self, host: Host, entry: Entry, environment: Mapping[str, str]) -> Path:
        overlays = [v.overlay for (name, _), v in self.views.items() if name == host.name]
        plan: dict[str, Any] = {
            "cwd": host.seen("code"),
            "why": self.isolation.reason,
            "preamble": str(joblog.preamble(host, entry.program, environment, entry.shown)),
        }
        if self.isolation.kind:
            binds = [{"source": str(write_hosts_file(host)), "target": "/etc/hosts"}]
            plan |= {
                "namespace": self.isolation.kind,
                "ml": str(host.folder.ml),
                "hostname": host.name,
                "overlays": [overlay for overlay in overlays if overlay],
                "binds": [bind for bind in binds if Path(bind["target"]).exists()],
            }
            if self.isolation.overlay:
                plan["overlays"] += site_overlays(host.folder.path / "written")
        path = host.folder.path / "plan.json"
        path.write_text(json.dumps(plan))
        return path


def _hosts(
    spec: TrainingSpec,
    folder: JobFolder,
    allotment: Allotment,
    hyperparameters: Hyperparameters,
    isolated: Isolation,
) -> list[Host]:
    """The hosts, among which cores and GPUs are shared out."""
    count, port = len(spec.hosts), free_port()
    return [
        Host(
            spec=spec,
            hyperparameters=hyperparameters,
            job=folder,
            name=name,
            cores=max(1, allotment.cores // count),
            gpus=allotment.gpus[rank::count],
            ml=isolated.ml_root or str(folder.host(name).ml),
            master_port=port,
        )
        for rank, name in enumerate(spec.hosts)
    ]


def _path(inherited: Mapping[str, str], site: Path | None) -> str:
    """Ours first: a shell script's `python3` must be the one that has PyTorch."""
    first = [str(Path(sys.executable).parent)]
    first += [str(site / "bin")] if site else []
    return os.pathsep.join([*first, inherited.get("PATH", os.defpath)])


def _valid(environment: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if k and "=" not in k and "\0" not in k + v}
