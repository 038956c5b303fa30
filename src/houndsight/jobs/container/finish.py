"""After the scripts have ended: archives, uploads, and why a job failed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from houndsight.jobs.container import joblog
from houndsight.jobs.container.archives import pack
from houndsight.jobs.container.checkpoints import CheckpointSync
from houndsight.jobs.container.clone import remove_tree
from houndsight.jobs.container.failure import failure_reason as _failure_reason
from houndsight.jobs.container.weights import keep_downloads
from houndsight.jobs.layout import HostFolder, JobFolder
from houndsight.jobs.objects import split_uri
from houndsight.jobs.spec import TrainingSpec

if TYPE_CHECKING:
    from houndsight.jobs.objects import ObjectStore

__all__ = ["CheckpointSync", "clean_up", "failure_reason", "upload_results"]


def failure_reason(
    spec: TrainingSpec, folder: JobFolder, exit_codes: Mapping[str, int], *, note: str = ""
) -> str:
    """Why the job failed, in SageMaker's form, at most 1,024 characters; logged, and in `failure`.

    Args:
        exit_codes: of every host's script; negative for a signal.
        note: what the supervisor knows besides, such as that memory ran out.
    """
    reason = _failure_reason(spec, folder, exit_codes, note=note)
    for name, code in exit_codes.items():
        host = folder.host(name)
        failure = host.ml / "output" / "failure"
        if code != 0 and not failure.exists() and failure.parent.is_dir():
            failure.write_text(reason.removeprefix("AlgorithmError: "))
    first = folder.host(spec.hosts[0])
    joblog.say(first, "Reporting training FAILURE", level="ERROR")
    joblog.say(first, reason.removeprefix("AlgorithmError: "), level="ERROR")
    return reason


def upload_results(
    spec: TrainingSpec, folder: JobFolder, objects: ObjectStore, *, succeeded: bool
) -> tuple[str, str]:
    """Pack and upload `model/` and `output/data`; returns the S3 URIs, "" for what there is not.

    A job that was stopped or failed leaves a model only if it has written one.

    Raises:
        ObjectError: the store does not take an archive.
        OSError: the disk has no room for it.
    """
    first = folder.host(spec.hosts[0])
    if succeeded:
        for name in spec.hosts:
            success = folder.host(name).ml / "output" / "success"
            success.parent.mkdir(parents=True, exist_ok=True)
            success.touch()
        joblog.say(first, "Reporting training SUCCESS")
    model = _upload(spec, folder, objects, "model", "model.tar.gz", always=succeeded)
    output = _upload(spec, folder, objects, "output/data", "output.tar.gz", always=False)
    CheckpointSync(spec, folder, objects).sync(final=True)
    keep_downloads(folder.path / "torch")
    return model, output


def clean_up(spec: TrainingSpec, folder: JobFolder) -> None:
    """Remove what nobody reads after the job: views of channels, and what was written into them.

    Logs, `model/`, `output/` and the configuration stay.
    """
    remove_tree(folder.path / "torch")
    for name in spec.hosts:
        host = folder.host(name)
        remove_tree(host.path / "written")
        remove_tree(host.ml / "input" / "data")


def _upload(
    spec: TrainingSpec,
    folder: JobFolder,
    objects: ObjectStore,
    part: str,
    name: str,
    *,
    always: bool,
) -> str:
    roots = [folder.host(host).ml / part for host in spec.hosts]
    roots = [root for root in roots if root.is_dir()]
    if not spec.output_s3_uri or not (always or any(any(root.iterdir()) for root in roots)):
        return ""
    archive = folder.path / name
    first = folder.host(spec.hosts[0])
    count = pack(
        roots,
        archive,
        report=lambda line: joblog.say(first, line),
        seen_as=lambda path: _real(first, path),
    )
    if not count and not always:
        archive.unlink()
        return ""
    bucket, prefix = split_uri(spec.output_s3_uri)
    key = "/".join(part for part in (prefix.strip("/"), spec.name, "output", name) if part)
    objects.put_file(bucket, key, archive, content_type="application/x-tar")
    archive.unlink()
    return f"s3://{bucket}/{key}"


def _real(host: HostFolder, path: str) -> Path | None:
    """Where a path lies that a link of the script's names."""
    return host.ml / path.removeprefix("/opt/ml/") if path.startswith("/opt/ml/") else None
