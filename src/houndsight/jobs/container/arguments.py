"""Hyperparameters as a script's arguments, and their way through a shell.

Until 2025 SageMaker's toolkit joined the command with blanks and gave it to a shell, and public
scripts rely on what a shell does: `'"16"'`, as `best_estimator().hyperparameters()` returns it,
reaches `type=int` as 16; an empty value vanishes, so that `--flag` alone is left; `$NAME` is
filled in. What a shell would only have torn apart (blanks, `;`, `&`, a JSON text) is quoted.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["command_line", "has_shell_syntax", "shell_word", "to_arguments"]

_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
_QUOTED = re.compile(r"""'[^']*'|"[^"\\`]*\"""")
_LITERAL = re.compile(r"'[^']*'")
_EXPANSION = re.compile(r"\$[A-Za-z_{(]")


def to_arguments(user: Mapping[str, Any]) -> list[str]:
    """`["--batch-size", "32", "-b", "True", …]`, sorted by name, values as Python prints them.

    None is empty, a dictionary `a=1,b=2` (sagemaker-training 5.1.4, `mapping.to_cmd_args`).
    """
    arguments: list[str] = []
    for name in sorted(user):
        arguments += [f"--{name}" if len(name) > 1 else f"-{name}" if name else ""]
        arguments.append(_value(user[name]))
    return arguments


def shell_word(text: str) -> str:
    """A name or value as it stands in the shell's command; "" for an empty one."""
    if not text or _PLAIN.fullmatch(text) or _QUOTED.fullmatch(text):
        return text
    if _EXPANSION.search(text):
        return '"' + re.sub(r'(["\\`]|\$(?![A-Za-z_{(]))', r"\\\1", text) + '"'
    if set(text) & set("'\"`$\\!\n"):
        return shlex.quote(text)
    return f'"{text}"'


def command_line(words: Sequence[str]) -> str:
    """The command for `/bin/sh -c`, in which empty values have vanished."""
    return " ".join(filter(None, map(shell_word, words)))


def has_shell_syntax(words: Sequence[str]) -> bool:
    """Whether only a shell can say what the words become: more than quotes is in them."""
    return any(_EXPANSION.search(word) and not _LITERAL.fullmatch(word) for word in words)


def _value(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ",".join(f"{k}={v}" for k, v in sorted(value.items()))
    return str(value)
