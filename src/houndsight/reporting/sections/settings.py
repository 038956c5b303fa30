"""Exact settings to repeat the run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from houndsight.reporting.document import Block, Code, Facts, Section
from houndsight.reporting.measurements import Measurements, mapping
from houndsight.reporting.text import clean, measure

__all__ = ["settings"]


def settings(m: Measurements) -> Section:
    """The command, what came out of choosing, every setting, versions and fingerprints."""
    blocks: list[Block] = []
    command = m.environment.get("command")
    if isinstance(command, list) and command:
        blocks.append(Code(text=_command(m, command), label="Command"))
    blocks.append(Facts(title="Identity", rows=tuple(_identity(m))))
    for title, values in (
        ("Chosen hyperparameters", mapping(m.results.get("parameters"))),
        ("Plan", m.plan),
        ("Preprocessing", mapping(m.results.get("preprocessing"))),
    ):
        if values:
            chosen = title == "Chosen hyperparameters"
            rows = _chosen(m, values) if chosen else _rows(values)
            blocks.append(Facts(title=title, rows=rows, folded=not chosen))
    for section, values in m.config.items():
        if section == "source":
            continue
        rows = _rows(values) if isinstance(values, Mapping) else ((clean(section), _value(values)),)
        if rows:
            blocks.append(
                Facts(title=f"Settings: {clean(section, limit=60)}", rows=rows, folded=True)
            )
    versions = {"python": m.environment.get("python"), **mapping(m.environment.get("versions"))}
    blocks.append(
        Facts(title="Versions", rows=_rows({k: v or "not installed" for k, v in versions.items()}))
    )
    return Section(id="repeat", title="Settings to repeat it", blocks=tuple(blocks))


def _chosen(m: Measurements, values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The hyperparameters as used, with what the search calls them where that differs."""
    rows = []
    for name, value in values.items():
        shown, scaled = _value(value), _scaled(m, values, name)
        if scaled is not None:
            shown += f" ({measure(scaled)} in the search, where features have unit length)"
        rows.append((clean(name, limit=80).replace("_", " "), shown))
    return tuple(rows)


def _scaled(m: Measurements, values: Mapping[str, Any], name: str) -> float | None:
    """The searched value of a weight decay that was scaled by the features' length."""
    if name != "weight_decay":
        return None
    others = {k: v for k, v in values.items() if k != name}
    for trial in m.trials:
        tried = mapping(trial.get("parameters"))
        same = all(others[k] == v for k, v in tried.items() if k in others)
        known = isinstance(tried.get(name), float) and len(tried) > 1
        if same and known and tried[name] != values[name]:
            return float(tried[name])
    return None


def _command(m: Measurements, arguments: list[Any]) -> str:
    """What to type to do the same again: the program by its name, not by where it lay."""
    name = str(arguments[0]).replace("\\", "/").rsplit("/", 1)[-1]
    shown = "houndsight" if name in ("__main__.py", "main.py") else name
    given = [str(a) for a in arguments[1:]]
    if shown == "houndsight" and given[:1] == ["run"]:
        given = _repeatable(m, given)
    return clean(" ".join([shown, *map(shlex.quote, given)]), limit=1000)


def _repeatable(m: Measurements, given: list[str]) -> list[str]:
    """`houndsight run` into a new folder, with the backbone that `auto` came to named.

    What `auto` chooses among are the weights at hand, which another day or machine may not have.
    """
    kept = _without(given, "--out")
    if any(a.split("=")[0] == "--resume" for a in kept):
        source = mapping(m.results.get("data")).get("source") or m.config.get("source") or "PHOTOS"
        kept = [*_without(kept, "--resume"), str(source)]
    name = mapping(m.results.get("backbone")).get("name")
    return [*_without(kept, "--backbone"), "--backbone", str(name)] if name else kept


def _without(arguments: list[str], option: str) -> list[str]:
    """The arguments less an option and its value, given as two or with an equals sign."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if not skip and argument != option and not argument.startswith(f"{option}="):
            kept.append(argument)
        skip = not skip and argument == option
    return kept


def _identity(m: Measurements) -> list[tuple[str, str]]:
    told, backbone = mapping(m.results.get("data")), mapping(m.results.get("backbone"))
    rows = (
        ("Run", m.run.folder.name),
        ("Started", m.run.created),
        ("Status", "" if m.finished else str(m.status)),
        ("Data fingerprint", told.get("fingerprint") or m.results.get("fingerprint")),
        ("Weights hash", backbone.get("weights_hash")),
        ("System", m.environment.get("system")),
        ("Processors", m.environment.get("cpu_count")),
    )
    return [(name, clean(value, limit=200)) for name, value in rows if value]


def _rows(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple((clean(k, limit=80).replace("_", " "), _value(v)) for k, v in values.items())


def _value(value: object) -> str:
    if value is None or value == "":
        return "not set"
    if isinstance(value, Mapping):
        return ", ".join(f"{clean(k, limit=60)} {_value(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return clean(", ".join(_value(v) for v in value), limit=300)
    if isinstance(value, float):
        return repr(value)
    return clean(value, limit=300)
