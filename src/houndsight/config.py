"""How settings are declared, merged and shown.

Each package owns one frozen, keyword-only settings class; a field's meaning stands as a string
under it, and the command line's help, the docs and `run.json` are made from that. Values come
from the command line, then `HOUNDSIGHT_<SECTION>_<FIELD>`, then `houndsight.toml` in the user's
configuration folder, then one beside the data (only for sections that allow it), then defaults.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
import inspect
import os
import tempfile
import textwrap
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

import platformdirs

from houndsight.errors import SettingError
from houndsight.wording import did_you_mean

__all__ = [
    "Resolved",
    "Setting",
    "Settings",
    "cache_home",
    "config_file",
    "require_cache_home",
    "resolve",
    "setting",
    "state_home",
]

S = TypeVar("S", bound="Settings")

SECTIONS = (
    "data",
    "debugger",
    "endpoints",
    "jobs",
    "models",
    "run",
    "serving",
    "training",
    "tuning",
)
"""Every section, also of rooms that are not imported: what else a file holds is a mistake."""
BESIDE_DATA = ("data",)
"""Those that a file beside the photos may set."""


def setting(
    default: Any,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: Sequence[str] | None = None,
    flag: str | None = None,
) -> Any:
    """A field of a settings class: its default and the values it may have.

    `flag` names the command-line option when it is not `--field-name`.
    """
    return dataclasses.field(
        default=default,
        metadata={"minimum": minimum, "maximum": maximum, "choices": choices, "flag": flag},
    )


@dataclass(frozen=True)
class Setting:
    """What is known about one field of a settings class."""

    section: str
    name: str
    type: Any
    default: Any
    help: str
    minimum: float | None
    maximum: float | None
    choices: tuple[str, ...] | None
    flag: str

    @property
    def variable(self) -> str:
        """The environment variable that sets it."""
        return f"HOUNDSIGHT_{self.section}_{self.name}".upper()

    def check(self, value: Any) -> Any:
        """`value` in the field's type.

        Raises:
            SettingError: it has another type or lies outside the range.
        """
        name = f"{self.section}.{self.name}"
        value = _coerce(value, self.type, name)
        if self.choices is not None and value is not None and value not in self.choices:
            raise SettingError(f"{name} is {value!r}; it must be one of {', '.join(self.choices)}.")
        if isinstance(value, int | float) and not isinstance(value, bool):
            low, high = self.minimum, self.maximum
            if value != value or (low is not None and value < low):
                raise SettingError(f"{name} is {value}; it must be at least {low}.")
            if high is not None and value > high:
                raise SettingError(f"{name} is {value}; it must be at most {high}.")
        return value


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Base of every settings class: frozen, keyword-only, checked when made."""

    section: ClassVar[str]
    """The table's name in `houndsight.toml` and the middle of its environment variables."""
    beside_data: ClassVar[bool] = False
    """Whether a `houndsight.toml` beside the photos may set it."""

    def __post_init__(self) -> None:
        for field in self.describe():
            object.__setattr__(self, field.name, field.check(getattr(self, field.name)))

    @classmethod
    def describe(cls) -> tuple[Setting, ...]:
        """Every field with type, default, range and meaning, in order."""
        described: tuple[Setting, ...] = _describe(cls)  # type: ignore[arg-type]
        return described

    def to_json(self) -> dict[str, Any]:
        """Plain values, as they stand in `run.json`."""
        return {f.name: getattr(self, f.name) for f in self.describe()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The settings in `run.json`; fields that this version does not know are left out."""
        return cls(**{f.name: values[f.name] for f in cls.describe() if f.name in values})


@dataclass(frozen=True)
class Resolved(Generic[S]):
    """Settings together with where each value came from."""

    value: S
    sources: Mapping[str, str]


def resolve(
    cls: type[S],
    *,
    given: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    user_file: Path | None = None,
    data_folder: Path | None = None,
) -> Resolved[S]:
    """Merge the sources of `cls`, the strongest first; `given` values of None are not given.

    Raises:
        SettingError: a value is wrong, or a file, a table or the environment holds a name that
            does not exist.
    """
    environ = os.environ if environ is None else environ
    _check_variables(cls, environ)
    layers = list(_file_layers(cls, user_file or config_file(), data_folder))
    values: dict[str, Any] = {}
    sources = dict.fromkeys((f.name for f in cls.describe()), "default")
    for source, table in reversed(layers):
        values |= table
        sources |= dict.fromkeys(table, source)
    for field in cls.describe():
        if field.variable in environ:
            values[field.name] = environ[field.variable]
            sources[field.name] = field.variable
        if given is not None and given.get(field.name) is not None:
            values[field.name] = given[field.name]
            sources[field.name] = "command line"
    return Resolved(cls(**values), sources)


def config_file() -> Path:
    """The user's `houndsight.toml`."""
    return Path(platformdirs.user_config_dir("houndsight")) / "houndsight.toml"


def state_home() -> Path:
    """Where runs and jobs live: `HOUNDSIGHT_HOME`, or the platform's data folder."""
    return Path(os.environ.get("HOUNDSIGHT_HOME") or platformdirs.user_data_dir("houndsight"))


def cache_home() -> Path:
    """Where caches live: `HOUNDSIGHT_CACHE`, or the platform's cache folder."""
    return Path(os.environ.get("HOUNDSIGHT_CACHE") or platformdirs.user_cache_dir("houndsight"))


def require_cache_home() -> Path:
    """`cache_home()`, made if it was not there.

    Raises:
        SettingError: nothing can be written there.
    """
    home = cache_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=home).close()
    except OSError as error:
        named = "HOUNDSIGHT_CACHE names" if os.environ.get("HOUNDSIGHT_CACHE") else "The cache is"
        raise SettingError(
            f"{named} {home}, where nothing can be written: {error.strerror}. "
            "Set HOUNDSIGHT_CACHE to a folder that can be written."
        ) from error
    return home


def _check_variables(cls: type[Settings], environ: Mapping[str, str]) -> None:
    """Refuse variables that look like settings and are none: ignored, they would mislead."""
    known = {field.variable for field in cls.describe()}
    sections = {f"HOUNDSIGHT_{name}".upper(): name for name in (*SECTIONS, cls.section)}
    for name in environ:
        if not name.startswith("HOUNDSIGHT_") or name in known:
            continue
        head = "_".join(name.split("_")[:2])
        if sections.get(head) == cls.section:
            fields = [field.name.upper() for field in cls.describe()]
            meant = did_you_mean(name.removeprefix(f"{head}_"), fields, before=f"{head}_")
            raise SettingError(
                f"{name} is set, but section {cls.section} has no such setting{meant} "
                "Correct or unset it."
            )
        near = difflib.get_close_matches(head, sections, n=1, cutoff=0.9)
        if near and head not in sections and "_" in name.removeprefix("HOUNDSIGHT_"):
            raise SettingError(
                f"{name} is set, but there is no section {head.removeprefix('HOUNDSIGHT_')}; did "
                f"you mean {near[0]}{name.removeprefix(head)}? Correct or unset it."
            )


def _file_layers(
    cls: type[Settings], user_file: Path, data_folder: Path | None
) -> Iterator[tuple[str, dict[str, Any]]]:
    yield str(user_file), _table(user_file, cls, {*SECTIONS, cls.section})
    if cls.beside_data and data_folder is not None:
        beside = data_folder / "houndsight.toml"
        yield str(beside), _table(beside, cls, {*BESIDE_DATA, cls.section})


def _table(path: Path, cls: type[Settings], allowed: set[str]) -> dict[str, Any]:
    """The class's table in a TOML file, or nothing when there is no such file."""
    if not path.is_file():
        return {}
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not valid TOML: {error}.") from error
    for section in tables:
        _check_section(path, section, allowed)
    table = tables.get(cls.section, {})
    if not isinstance(table, dict):
        raise SettingError(f"{path}: {cls.section} must be a table, [{cls.section}].")
    known = {f.name for f in cls.describe()}
    for name in table:
        if name not in known:
            raise SettingError(
                f"{path}: [{cls.section}] has no setting {name!r}{did_you_mean(name, known)} "
                f"It has {', '.join(sorted(known))}."
            )
    return table


def _check_section(path: Path, section: str, allowed: set[str]) -> None:
    if section in allowed:
        return
    if section in SECTIONS:
        raise SettingError(
            f"{path}: [{section}] is not for a file beside photos, which may set only "
            f"{', '.join(f'[{name}]' for name in sorted(allowed))}; move it to {config_file()}."
        )
    raise SettingError(
        f"{path}: there is no section [{section}]{did_you_mean(section, allowed)} "
        f"There are {', '.join(sorted(allowed))}."
    )


@functools.cache
def _describe(cls: Any) -> tuple[Setting, ...]:
    hints, meanings = typing.get_type_hints(cls), _meanings(cls)
    described = []
    for field in dataclasses.fields(cls):
        assert field.default is not MISSING, f"{cls.__name__}.{field.name} has no default"
        data, choices = field.metadata, field.metadata.get("choices")
        described.append(
            Setting(
                section=cls.section,
                name=field.name,
                type=hints[field.name],
                default=field.default,
                help=meanings.get(field.name, ""),
                minimum=data.get("minimum"),
                maximum=data.get("maximum"),
                choices=None if choices is None else tuple(choices),
                flag=data.get("flag") or "--" + field.name.replace("_", "-"),
            )
        )
    return tuple(described)


def _meanings(cls: type) -> dict[str, str]:
    """The strings that stand under the fields of a class, by field."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
    assert isinstance(tree, ast.ClassDef)
    found: dict[str, str] = {}
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            found[field.target.id] = inspect.cleandoc(below.value.value)
    return found


def _coerce(value: Any, kind: Any, name: str) -> Any:
    """`value` as `kind`, reading strings the way environment variables give them."""
    if isinstance(kind, types.UnionType):
        if value is None or (value == "" and type(None) in kind.__args__):
            return None
        kind = next(k for k in kind.__args__ if k is not type(None))
    try:
        return _convert(value, kind)
    except (TypeError, ValueError, KeyError) as error:
        wanted = getattr(kind, "__name__", str(kind))
        raise SettingError(f"{name} is {value!r}; it must be of type {wanted}.") from error


def _convert(value: Any, kind: Any) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[
            str(value).lower()
        ]
    if kind is int and isinstance(value, float) and not value.is_integer():
        raise ValueError(value)
    if kind in (int, float) and isinstance(value, bool):
        raise TypeError(value)
    if kind in (int, float):
        return kind(value)
    if typing.get_origin(kind) is tuple:
        items = value.split(",") if isinstance(value, str) else list(value)
        return tuple(_convert(item, typing.get_args(kind)[0]) for item in items)
    if not isinstance(value, str):
        raise TypeError(value)
    return value
