"""Command-line options made from settings classes, so that a setting is described once."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from houndsight.config import Resolved, Setting, Settings, resolve
from houndsight.errors import SettingError
from houndsight.wording import did_you_mean

__all__ = ["SetOption", "resolve_all", "with_settings"]

SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.FIELD=VALUE",
        help="Any other setting; `houndsight config` lists them all. May be given many times.",
    ),
]


def with_settings(
    chosen: Mapping[type[Settings], Iterable[str]],
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each chosen field, with the help that stands under the field.

    The command receives them as one argument, `given`: {section: {field: value or None}}.
    """
    fields = [f for cls, names in chosen.items() for f in cls.describe() if f.name in set(names)]

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def wrapper(**arguments: Any) -> None:
            given: dict[str, dict[str, Any]] = {}
            for field in fields:
                value = arguments.pop(f"{field.section}__{field.name}")
                given.setdefault(field.section, {})[field.name] = value
            command(given=given, **arguments)

        # Evaluated here: typer would not look into annotations that are still strings.
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != "given"]
        parameters = [*own, *(_parameter(field) for field in fields)]
        wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        return wrapper

    return decorate


def resolve_all(
    classes: Iterable[type[Settings]],
    *,
    given: Mapping[str, Mapping[str, Any]],
    assignments: Iterable[str] = (),
    data_folder: Path | None = None,
) -> dict[str, Resolved[Any]]:
    """Every section's settings from all their sources; `assignments` are `section.field=value`.

    Raises:
        SettingError: an assignment names no setting, or a value is wrong.
    """
    by_section = {cls.section: cls for cls in classes}
    values = {section: dict(given.get(section, {})) for section in by_section}
    known = {f"{section}.{f.name}" for section, cls in by_section.items() for f in cls.describe()}
    for assignment in assignments:
        section, name, value = _split_assignment(assignment)
        if (wanted := f"{section}.{name}") not in known:
            raise SettingError(
                f"--set {assignment}: there is no setting {wanted}{did_you_mean(wanted, known)} "
                "`houndsight config` lists them all."
            )
        values[section][name] = value
    return {
        section: resolve(cls, given=values[section], data_folder=data_folder)
        for section, cls in by_section.items()
    }


def _split_assignment(assignment: str) -> tuple[str, str, str]:
    left, equals, value = assignment.partition("=")
    section, dot, name = left.strip().partition(".")
    if not equals or not dot:
        raise SettingError(f"--set {assignment}: write it as section.field=value.")
    return section, name.replace("-", "_"), value.strip()


def _parameter(field: Setting) -> inspect.Parameter:
    option = typer.Option(
        field.flag,
        help=_help(field),
        metavar=_metavar(field),
        show_default=False,
        rich_help_panel=f"{field.section.capitalize()} settings",
    )
    return inspect.Parameter(
        f"{field.section}__{field.name}",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_optional(field.type), option],
    )


def _optional(kind: Any) -> Any:
    """The option's type: what it is given as on the command line, or None when it is not."""
    if isinstance(kind, types.UnionType):
        kind = next(k for k in kind.__args__ if k is not type(None))
    return (kind if kind in (int, float, bool) else str) | None


def _metavar(field: Setting) -> str:
    """What stands for the value in the help."""
    if field.choices:
        return "CHOICE"
    if field.type is bool:
        return ""
    kind = next((k for k in (int, float) if k == field.type or k in _alternatives(field.type)), str)
    return {int: "N", float: "NUMBER", str: "TEXT"}[kind]


def _alternatives(kind: Any) -> tuple[Any, ...]:
    return kind.__args__ if isinstance(kind, types.UnionType) else ()


def _help(field: Setting) -> str:
    notes = []
    if field.choices:
        notes.append("one of " + ", ".join(field.choices))
    if field.default is not None and field.default != "":
        number = isinstance(field.default, float)
        notes.append(f"default {field.default:g}" if number else f"default {field.default}")
    text = " ".join(field.help.split())
    return f"{text} [dim]({'; '.join(notes)})[/dim]" if notes else text
