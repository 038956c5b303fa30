"""Endpoints for the control plane: created, changed, deleted, invoked, and followed.

Each endpoint's supervisor runs by itself; the service asks by writing `wanted.json`, reads
`status.json`, keeps the record in the store true to it, and replaces a supervisor that has died.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from houndsight.config import resolve
from houndsight.errors import HoundsightError, RunError
from houndsight.files import write_atomic
from houndsight.jobs.container.clone import remove_tree
from houndsight.jobs.endpoints import logs
from houndsight.jobs.endpoints.invoking import Invocation, Invoker, Reply
from houndsight.jobs.endpoints.records import detail_of, move
from houndsight.jobs.endpoints.request import endpoint_spec, reweighed
from houndsight.jobs.endpoints.routing import Router
from houndsight.jobs.endpoints.settings import EndpointsSettings
from houndsight.jobs.endpoints.spec import EndpointSpec
from houndsight.jobs.endpoints.starting import SupervisorStarter
from houndsight.jobs.endpoints.state import EndpointState
from houndsight.jobs.endpoints.supervisor import DELETED
from houndsight.jobs.engine import LogPage
from houndsight.jobs.layout import EndpointFolder, PlatformHome
from houndsight.jobs.states import Kind, NotFoundError, StateError
from houndsight.jobs.store import JobStore, Record

__all__ = ["EndpointService"]

LOOK_EVERY_S = 0.1
ALIVE_EVERY_S = 1.0
CHANGEABLE = ("InService", "OutOfService", "Failed")
log = logging.getLogger("houndsight.endpoints")


class EndpointService:
    """Endpoints by name. Methods may be called from any thread."""

    def __init__(
        self,
        home: PlatformHome,
        store: JobStore,
        *,
        region: str = "us-east-1",
        account: str = "000000000000",
        settings: EndpointsSettings | None = None,
        reserve: Callable[[str, int], None] | None = None,
    ) -> None:
        """Over the folder and the store of one control plane.

        Args:
            reserve: told how much memory an endpoint holds: `("endpoint NAME", bytes)`.
        """
        self._home, self._store = home, store
        self._region, self._account = region, account
        self._settings = settings or resolve(EndpointsSettings).value
        self._reserve = reserve or (lambda _name, _bytes: None)
        self._lock = threading.RLock()
        self._followed: dict[str, _Followed] = {}
        self._invokers: dict[str, Invoker] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Take up the endpoints of an earlier control plane, and follow all of them."""
        self._home.endpoints.mkdir(parents=True, exist_ok=True, mode=0o700)
        token = None
        while True:
            page = self._store.list(Kind.ENDPOINT, limit=500, token=token)
            for record in page.records:
                self._take_up(record)
            token = page.next_token
            if not token:
                break
        self._end_orphans()
        self._thread = threading.Thread(target=self._follow, name="endpoints", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop following; the endpoints go on by themselves."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    # -- what clients ask ---------------------------------------------------------------------

    def create(
        self,
        name: str,
        arn: str,
        request: Mapping[str, Any],
        *,
        config: Mapping[str, Any],
        models: Mapping[str, Mapping[str, Any]],
    ) -> Record:
        """Keep the record and start the endpoint; returns at once.

        Args:
            config: the request of the endpoint configuration.
            models: those of its models, by name; all may be deleted afterwards.

        Raises:
            ExistsError: there is one of that name.
            BadRequestError: it asks for what Houndsight does not have.
        """
        created = time.time()
        config_name = str(request["EndpointConfigName"])
        spec = endpoint_spec(
            name,
            arn,
            config,
            models,
            config_name=config_name,
            created=created,
            region=self._region,
        )
        # Until `wanted.json` is there, a control plane that takes over needs these.
        asked = {"config": config_name, "asked": {"config": config, "models": models}}
        record = Record(
            kind=Kind.ENDPOINT,
            name=name,
            arn=arn,
            status="Creating",
            created=created,
            request=dict(request),
            detail=asked,
        )
        with self._lock:
            record = self._store.add(record)
            self._begin(spec)
        return record

    def update(
        self,
        name: str,
        request: Mapping[str, Any],
        *,
        config: Mapping[str, Any],
        models: Mapping[str, Mapping[str, Any]],
    ) -> Record:
        """Put another configuration in service without dropping a request.

        Raises:
            NotFoundError: there is no such endpoint.
            StateError: it is being changed.
            BadRequestError: the configuration asks for what Houndsight does not have.
        """
        with self._lock:
            before = self._changeable(name)
            spec = endpoint_spec(
                name,
                before.arn,
                config,
                models,
                config_name=str(request["EndpointConfigName"]),
                created=before.created,
                region=self._region,
                generation=before.revision + 1,
                revision=before.revision + 1,
            )
            if request.get("RetainAllVariantProperties"):
                spec = _with_weights_of(before, spec)
            return self._ask(spec, request)

    def reweigh(self, name: str, wanted: Sequence[Mapping[str, Any]]) -> Record:
        """Change weights and instance counts; rows of `DesiredWeightsAndCapacities`.

        Raises:
            NotFoundError: there is no such endpoint.
            StateError: it is not in service.
            JobsError: there is no such variant.
        """
        with self._lock:
            spec = self._changeable(name)
            if self._store.get(Kind.ENDPOINT, name).status == "Failed":
                raise StateError(f"Endpoint {name} has failed: update it, or delete it.")
            return self._ask(reweighed(spec, wanted), None)

    def delete(self, name: str) -> None:
        """Stop the endpoint and forget it, within seconds; returns at once.

        Raises:
            NotFoundError: there is none.
        """
        with self._lock:
            self._store.update(Kind.ENDPOINT, name, status="Deleting")
            self._invokers.pop(name, None)
            folder = self._home.endpoint(name)
            folder.path.mkdir(parents=True, exist_ok=True)
            write_atomic(folder.delete, b"")
            self._watch(name).starter.ensure()

    def describe(self, name: str) -> Record:
        """The record as it is now.

        Raises:
            NotFoundError: there is none.
        """
        return self._store.get(Kind.ENDPOINT, name)

    def invoke(self, name: str, request: Invocation) -> Reply:
        """Send a request to a worker and wait for its answer.

        Raises:
            InvocationError: there is no such endpoint, or no answer.
        """
        invoker = self._invokers.get(name)
        if invoker is None:
            invoker = self._make_invoker(name)
        return invoker.invoke(request)

    def log_streams(self, name: str) -> list[logs.EndpointLogStream]:
        """The logs of an endpoint's workers, those of a deleted endpoint too."""
        return logs.streams(self._home.endpoint(name))

    def logs(self, name: str, stream: str, offset: int = 0, limit: int = 1_000) -> LogPage:
        """Lines of a log stream from a byte offset on."""
        return logs.read_stream(self._home.endpoint(name), stream, offset, limit)

    # -- asking the supervisor ----------------------------------------------------------------

    def _begin(self, spec: EndpointSpec) -> None:
        folder = self._home.endpoint(spec.name)
        folder.path.mkdir(parents=True, exist_ok=True)
        logs.forget_old_streams(folder)
        spec.write(folder.wanted)
        self._watch(spec.name).starter.ensure()

    def _changeable(self, name: str) -> EndpointSpec:
        """What the endpoint is now, if it can be changed."""
        status = self._store.get(Kind.ENDPOINT, name).status
        folder = self._home.endpoint(name)
        wanted = EndpointSpec.read(folder.wanted)
        state = EndpointState.read(folder.status)
        if status not in CHANGEABLE or state is None or state.revision < wanted.revision:
            raise StateError(
                f"Endpoint {name} is {status}; it can be changed when it is InService."
            )
        if state.generation and folder.current.exists():
            current = EndpointSpec.read(folder.current)
            return dataclasses.replace(current, revision=wanted.revision)
        return wanted

    def _ask(self, spec: EndpointSpec, request: Mapping[str, Any] | None) -> Record:
        spec.write(self._home.endpoint(spec.name).wanted)
        record = self._store.update(
            Kind.ENDPOINT,
            spec.name,
            status="Updating",
            request=None if request is None else dict(request),
        )
        self._watch(spec.name).starter.ensure()
        return record

    def _make_invoker(self, name: str) -> Invoker:
        with self._lock:
            try:
                status = self._store.get(Kind.ENDPOINT, name).status
            except NotFoundError:
                status = ""
            if status in ("", "Deleting"):
                raise Invoker.not_found(name, self._account)
            router = Router(self._home.endpoint(name))
            invoker = Invoker(
                name, router, self._settings, region=self._region, account=self._account
            )
            self._invokers[name] = invoker
            return invoker

    # -- following ----------------------------------------------------------------------------

    def _take_up(self, record: Record) -> None:
        folder = self._home.endpoint(record.name)
        try:
            if record.status == "Deleting":
                folder.path.mkdir(parents=True, exist_ok=True)
                write_atomic(folder.delete, b"")
            elif not folder.wanted.exists():
                self._begin_again(record)
            self._watch(record.name)
        except HoundsightError as error:
            log.error("endpoint %s cannot be taken up: %s", record.name, error)

    def _begin_again(self, record: Record) -> None:
        """Create what a control plane was killed at creating."""
        asked = record.detail.get("asked")
        if record.status != "Creating" or not asked:
            move(self._store, record, "Failed", {"failure_reason": "Its folder is gone."})
            return
        spec = endpoint_spec(
            record.name,
            record.arn,
            asked["config"],
            asked["models"],
            config_name=str(record.request["EndpointConfigName"]),
            created=record.created,
            region=self._region,
        )
        self._begin(spec)

    def _end_orphans(self) -> None:
        """Folders of endpoints that the store does not know any more."""
        for path in self._home.endpoints.iterdir():
            folder = EndpointFolder(path)
            if folder.wanted.exists() and path.name not in self._followed:
                write_atomic(folder.delete, b"")
                self._watch(path.name)

    def _watch(self, name: str) -> _Followed:
        with self._lock:
            if name not in self._followed:
                folder = self._home.endpoint(name)
                self._followed[name] = _Followed(Router(folder), SupervisorStarter(folder))
            return self._followed[name]

    def _follow(self) -> None:
        look_at_all = 0.0
        while not self._closed.wait(LOOK_EVERY_S):
            now = time.monotonic()
            every = now >= look_at_all
            if every:
                look_at_all = now + ALIVE_EVERY_S
            for name, followed in list(self._followed.items()):
                try:
                    self._look_at(name, followed, is_alive_due=every)
                except NotFoundError:
                    self._forget(name, followed)
                except Exception:
                    log.exception("endpoint %s cannot be followed", name)

    def _look_at(self, name: str, followed: _Followed, *, is_alive_due: bool) -> None:
        state = followed.router.state()
        if state is not None and state.status == DELETED:
            self._forget(name, followed)
            return
        if state is not None and state != followed.seen:
            self._write_down(name, state)
            followed.seen = state
        if is_alive_due and not _rests(self._home.endpoint(name), state):
            followed.starter.ensure()

    def _write_down(self, name: str, state: EndpointState) -> None:
        with self._lock:
            record = self._store.get(Kind.ENDPOINT, name)
            wanted = EndpointSpec.read(self._home.endpoint(name).wanted)
            self._reserve(f"endpoint {name}", state.memory_bytes)
            if record.status == "Deleting":
                return
            status = state.status if state.revision >= wanted.revision else record.status
            if state.status in ("Updating", "RollingBack"):
                status = state.status
            detail = detail_of(state, wanted)
            if status != record.status or detail != record.detail:
                move(self._store, record, status, detail)

    def _forget(self, name: str, followed: _Followed) -> None:
        """Remove everything but the logs, then the record."""
        with self._lock:
            if followed.starter.is_alive:
                return
            folder = self._home.endpoint(name)
            self._reserve(f"endpoint {name}", 0)
            for path in folder.path.iterdir() if folder.path.is_dir() else ():
                if path.is_dir() and path != folder.logs:
                    remove_tree(path)
                elif path not in (folder.logs, folder.status, folder.delete):
                    path.unlink(missing_ok=True)
            with contextlib.suppress(NotFoundError):
                self._store.delete(Kind.ENDPOINT, name)
            # Last, so that a control plane that takes over here knows what was going on.
            folder.status.unlink(missing_ok=True)
            folder.delete.unlink(missing_ok=True)
            if not folder.logs.exists():
                shutil.rmtree(folder.path, ignore_errors=True)
            self._followed.pop(name, None)
            self._invokers.pop(name, None)


@dataclasses.dataclass
class _Followed:
    router: Router
    starter: SupervisorStarter
    seen: EndpointState | None = None


def _rests(folder: EndpointFolder, state: EndpointState | None) -> bool:
    """Whether it needs no supervisor: it has failed, and nothing else is wanted."""
    if state is None or state.status != "Failed" or folder.delete.exists():
        return False
    try:
        return EndpointSpec.read(folder.wanted).revision <= state.revision
    except RunError:
        return True


def _with_weights_of(before: EndpointSpec, spec: EndpointSpec) -> EndpointSpec:
    """`RetainAllVariantProperties`: weights and counts stay for variants of the same name."""
    old = {variant.name: variant for variant in before.variants}
    kept = tuple(
        dataclasses.replace(v, weight=old[v.name].weight, instances=old[v.name].instances)
        if v.name in old
        else v
        for v in spec.variants
    )
    return dataclasses.replace(spec, variants=kept)
