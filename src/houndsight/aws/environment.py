"""The variables that send AWS's clients to this machine, and how shells take them."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import houndsight
from houndsight.aws.keys import AccessKey
from houndsight.aws.platform import REGION
from houndsight.errors import SettingError
from houndsight.files import write_atomic
from houndsight.jobs.layout import PlatformHome

__all__ = ["SHELLS", "Environment", "client_environment", "shell_lines"]

SHELLS = ("sh", "fish")
COMPAT_PATH = Path(houndsight.__file__).absolute().parent / "compat" / "path"
"""The folder with `sitecustomize.py` and `smdebug`."""
IN_THE_WAY = (
    "AWS_DEFAULT_PROFILE",
    "AWS_ENDPOINT_URL_CLOUDWATCH",
    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
    "AWS_ENDPOINT_URL_IAM",
    "AWS_ENDPOINT_URL_S3",
    "AWS_ENDPOINT_URL_SAGEMAKER",
    "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME",
    "AWS_ENDPOINT_URL_STS",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_PROFILE",
    "AWS_SECURITY_TOKEN",
    "AWS_SESSION_TOKEN",
)
"""Variables of another account or store that would win over ours, or spoil the signature."""
NO_TELEMETRY = """\
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      TelemetryOptOut: true
"""


@dataclass(frozen=True)
class Environment:
    """Variables to set and variables to unset."""

    values: Mapping[str, str]
    unset: tuple[str, ...] = IN_THE_WAY

    def applied(self, environ: Mapping[str, str]) -> dict[str, str]:
        """`environ` with these."""
        kept = {name: value for name, value in environ.items() if name not in self.unset}
        return {**kept, **self.values}


def client_environment(
    home: PlatformHome, address: str, key: AccessKey, environ: Mapping[str, str]
) -> Environment:
    """What a shell needs.

    Args:
        environ: the shell's; what is in lists there (PYTHONPATH, NO_PROXY) is kept.
    """
    sdk_config = _written(home, "sagemaker-sdk.yaml", NO_TELEMETRY)
    # A notebook that installs the real smdebug would get it beside ours, and old packages with it.
    pip_constraint = _written(home, "pip-constraint.txt", f"smdebug=={_smdebug_version()}\n")
    values = {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": key.access_key,
        "AWS_SECRET_ACCESS_KEY": key.secret,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_REGION": REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": _in_front(str(COMPAT_PATH), environ.get("PYTHONPATH", ""), os.pathsep),
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        "SAGEMAKER_ADMIN_CONFIG_OVERRIDE": str(sdk_config),
        "PIP_CONSTRAINT": _with_constraint(pip_constraint, environ.get("PIP_CONSTRAINT", "")),
    }
    # A proxy for the world must not be asked for this machine.
    for name in ("NO_PROXY", "no_proxy"):
        inside = _in_front("127.0.0.1", environ.get(name, ""), ",")
        values[name] = _in_front("localhost", inside, ",")
    return Environment(values)


def shell_lines(environment: Environment, shell: str) -> list[str]:
    """Commands that a shell evaluates.

    Raises:
        SettingError: no such shell is known.
    """
    if shell == "sh":
        lines = [f"export {n}={shlex.quote(v)}" for n, v in environment.values.items()]
        return [*lines, f"unset {' '.join(environment.unset)}"]
    if shell == "fish":
        lines = [f"set -gx {n} {_fish_quoted(v)};" for n, v in environment.values.items()]
        return [*lines, *(f"set -e {name};" for name in environment.unset)]
    raise SettingError(f"--shell is {shell!r}; it must be one of {', '.join(SHELLS)}.")


def _fish_quoted(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _written(home: PlatformHome, name: str, text: str) -> Path:
    path = (home.root / name).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or path.read_text() != text:
        write_atomic(path, text.encode())
    return path


def _smdebug_version() -> str:
    found = next(COMPAT_PATH.glob("smdebug-*.dist-info"))
    return found.name.removeprefix("smdebug-").removesuffix(".dist-info")


def _with_constraint(path: Path, before: str) -> str:
    """pip splits the variable at spaces, so that a path with one has to be a URL."""
    ours = path.as_uri()
    return " ".join([ours, *(part for part in before.split() if part != ours)])


def _in_front(first: str, rest: str, separator: str) -> str:
    kept = [part for part in rest.split(separator) if part and part != first]
    return separator.join([first, *kept])
