"""All variants of one configuration with their workers: made ready, scaled, told about."""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from houndsight.errors import HoundsightError
from houndsight.jobs.endpoints import logs
from houndsight.jobs.endpoints.prepare import Prepared, prepare_variant
from houndsight.jobs.endpoints.settings import EndpointsSettings
from houndsight.jobs.endpoints.spec import EndpointSpec, VariantSpec
from houndsight.jobs.endpoints.state import VariantState
from houndsight.jobs.endpoints.workers import Site, Worker
from houndsight.jobs.layout import EndpointFolder, HostFolder, VariantFolder
from houndsight.wording import plural

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["Deployment"]

PER_INSTANCE = "SAGEMAKER_MODEL_SERVER_WORKERS"
CRASHES_OUT_OF_SERVICE = 3


class Deployment:
    """What a generation runs. `begin`, then `step` again and again."""

    def __init__(
        self,
        endpoint: EndpointFolder,
        spec: EndpointSpec,
        objects: ObjectStore,
        settings: EndpointsSettings,
        cores: int,
    ) -> None:
        self.endpoint, self.spec, self.settings, self.cores = endpoint, spec, settings, cores
        self._objects = objects
        self.failure = ""
        """Why it cannot be put in service."""
        self._workers: dict[str, list[Worker]] = {}
        self._prepared: dict[str, Prepared] = {}
        self._thread: threading.Thread | None = None
        self._in_service = False
        self.orphans: list[Path] = []
        """Attempts that an earlier supervisor has left, of workers that are too many."""

    @property
    def folder(self) -> Path:
        """Of the generation."""
        return self.endpoint.generations / str(self.spec.generation)

    def begin(self) -> None:
        """Bring what is needed, in a thread; what an earlier supervisor brought is taken up."""
        for variant in self.spec.variants:
            found = Prepared.read(self._folder_of(variant))
            if found is not None:
                self._add_workers(variant, found)
        if len(self._prepared) < len(self.spec.variants):
            self._thread = threading.Thread(target=self._prepare, daemon=True)
            self._thread.start()

    def step(self, now: float) -> None:
        """Look after all workers."""
        for variant in self.spec.variants:
            prepared = self._prepared.get(variant.name)
            if prepared is not None and variant.name not in self._workers:
                self._add_workers(variant, prepared)
            for worker in self._workers.get(variant.name, ()):
                worker.step(now)
                if worker.is_final and not self.failure:
                    self.failure = _did_not_pass(variant, worker)

    @property
    def is_ready(self) -> bool:
        """Whether every worker answers."""
        return len(self._workers) == len(self.spec.variants) and all(
            worker.ready for worker in self.all_workers
        )

    @property
    def all_workers(self) -> list[Worker]:
        """Of all variants."""
        return [worker for workers in self._workers.values() for worker in workers]

    @property
    def is_down(self) -> bool:
        """Whether nothing answers, and again and again nothing came up."""
        workers = self.all_workers
        return bool(workers) and all(
            not worker.ready and worker.crashes >= CRASHES_OUT_OF_SERVICE for worker in workers
        )

    @property
    def trouble(self) -> str:
        """What is the matter with the first worker that is not well."""
        said = (_did_not_pass(v, w) for v in self.spec.variants for w in self._of(v) if w.failure)
        return next(said, "")

    def keep_trying(self) -> None:
        """From now on it is in service: no worker is given up."""
        self.failure, self._in_service = "", True
        for worker in self.all_workers:
            worker.persistent = True

    def scale(self, spec: EndpointSpec) -> list[Path]:
        """Take other weights and counts; returns the attempts of workers that are too many."""
        self.spec, too_many = spec, []
        for variant in spec.variants:
            workers = self._of(variant)
            wanted = self._count(variant)
            too_many += [worker.folder for worker in workers[wanted:]]
            del workers[wanted:]
            for number in range(len(workers), wanted):
                workers.append(Worker(workers[0].site, f"w{number}"))
        return too_many

    def states(self, *, changing: str = "", weights: Sequence[float] = ()) -> list[VariantState]:
        """For `status.json`.

        Args:
            weights: those in force, where the ones asked for are not yet.
        """
        in_force = weights or [variant.weight for variant in self.spec.variants]
        return [
            self._state(variant, weight, changing)
            for variant, weight in zip(self.spec.variants, in_force, strict=True)
        ]

    def _state(self, variant: VariantSpec, weight: float, changing: str) -> VariantState:
        workers, prepared = self._of(variant), self._prepared.get(variant.name)
        ready = sum(worker.ready for worker in workers)
        whole = bool(workers) and ready == len(workers)
        return VariantState(
            name=variant.name,
            image=variant.model.image,
            weight=weight,
            desired_weight=variant.weight,
            instances=variant.instances if whole else min(ready, variant.instances),
            desired_instances=variant.instances,
            concurrency=prepared.concurrency if prepared else 1,
            workers=tuple(worker.state() for worker in workers),
            changing=changing,
            note=next((w.state().note for w in workers if not w.ready), ""),
        )

    def _of(self, variant: VariantSpec) -> list[Worker]:
        return self._workers.get(variant.name, [])

    def _folder_of(self, variant: VariantSpec) -> VariantFolder:
        return self.endpoint.variant(self.spec.generation, variant.name)

    def _count(self, variant: VariantSpec) -> int:
        """How many workers: instances times workers of each, as far as there are cores."""
        each = variant.model.environment.get(PER_INSTANCE, "1")
        asked = variant.instances * (int(each) if each.isdigit() and int(each) else 1)
        return max(1, min(asked, self.cores))

    def _site(self, variant: VariantSpec, prepared: Prepared) -> Site:
        return Site(
            endpoint=self.endpoint,
            spec=self.spec,
            variant=variant,
            folder=self._folder_of(variant),
            prepared=prepared,
            settings=self.settings,
            cores=self._cores_of(variant),
        )

    def _cores_of(self, variant: VariantSpec) -> int:
        return max(1, self.cores // self._count(variant))

    def _add_workers(self, variant: VariantSpec, prepared: Prepared) -> None:
        site = self._site(variant, prepared)
        self._prepared[variant.name] = prepared
        names = [f"w{number}" for number in range(self._count(variant))]
        self._workers[variant.name] = [Worker(site, name) for name in names]
        for worker in self._workers[variant.name]:
            worker.persistent = self._in_service
        started = sorted(site.folder.attempts.glob("*-*"))
        self.orphans += [path for path in started if path.name.rpartition("-")[0] not in names]

    def _prepare(self) -> None:
        try:
            self._prepare_all()
        except Exception as error:
            traceback.print_exc()
            self.failure = f"Houndsight failed to prepare it: {type(error).__name__}: {error}"

    def _prepare_all(self) -> None:
        for variant in self.spec.variants:
            if variant.name in self._prepared:
                continue
            folder = self._folder_of(variant)
            first = self._log_of(variant)
            try:
                self._say_count(variant)
                self._prepared[variant.name] = prepare_variant(
                    self.spec,
                    variant,
                    folder,
                    self._objects,
                    cores=self._cores_of(variant),
                    say=lambda text, log=first: logs.say(log, text),  # type: ignore[misc]
                )
            except (HoundsightError, OSError) as error:
                with contextlib.suppress(OSError):
                    logs.say(first, str(error), level="ERROR")
                self.failure = f"Production variant {variant.name}: {_told(error)}"
                return

    def _log_of(self, variant: VariantSpec) -> HostFolder:
        name = logs.stream_name(
            self.spec.arn, self.spec.created, self.spec.generation, variant.name, "w0"
        )
        return self.endpoint.stream(variant.name, name)

    def _say_count(self, variant: VariantSpec) -> None:
        count = self._count(variant)
        if variant.instances > count:
            logs.say(
                self._log_of(variant),
                f"{plural(variant.instances, 'instance')} of {variant.instance_type} are asked for;"
                f" this machine has {plural(self.cores, 'core')}: the variant gets"
                f" {plural(count, 'worker')}.",
            )


def _told(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'The disk'} cannot be written: {error.strerror or error}."
    return str(error)


def _did_not_pass(variant: VariantSpec, worker: Worker) -> str:
    return (
        f"The primary container for production variant {variant.name} did not pass the ping health"
        f" check: the worker {worker.failure}."
    )
