"""What of the source is run, and by which command: `python train.py --lr 0.1`, torchrun, a shell.

Script mode names the entry point in `sagemaker_program`; a job with an entrypoint of its own
(SDK 3) says the command itself.
"""

from __future__ import annotations

import difflib
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

from houndsight.jobs.container.arguments import command_line, has_shell_syntax, to_arguments
from houndsight.jobs.container.command import ContainerError
from houndsight.jobs.container.distribution import Distribution
from houndsight.jobs.container.host import Host

__all__ = ["Entry", "check_program", "entry_of"]

_NAME = re.compile(r"[\w. +@=-]+(/[\w. +@=-]+)*")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The command of one host."""

    program: str
    """The script's name, "" for a job with its own entrypoint."""
    argv: tuple[str, ...]
    """What becomes the process."""
    shown: str
    """What the log shows as the command."""
    script_argv: tuple[str, ...] | None = None
    """`sys.argv` where a fork may run the script."""
    processes: int = 1
    """How many of them share the host's cores."""


def check_program(program: str, code: Path) -> None:
    """Whether `sagemaker_program` names a file of the source.

    Raises:
        ContainerError: it does not; the sentence names what is there.
    """
    if not _NAME.fullmatch(program) or program[0] in "-/ " or ".." in program.split("/"):
        raise ContainerError(
            f"The entry point {program[:200]!r} is no path inside the source: give the script's"
            " name relative to source_dir, such as 'train.py'."
        )
    if not (code / program).is_file():
        there = sorted(str(p.relative_to(code)) for p in code.rglob("*") if p.is_file())[:200]
        near = difflib.get_close_matches(program, there, n=1) or there
        holds = f"it holds {', '.join(near[:8])}" if near else "it is empty"
        raise ContainerError(f"The entry point {program!r} is not in the source: {holds}.")


def entry_of(host: Host, distribution: Distribution) -> Entry:
    """The host's command.

    Raises:
        ContainerError: there is nothing to run, or not in this way.
    """
    spec = host.spec
    if spec.entrypoint:
        argv = tuple(spec.entrypoint) + tuple(spec.arguments)
        argv = tuple(_with_real_prefix(word, host) for word in argv)
        return Entry(program="", argv=argv, shown=" ".join(argv))
    program = host.program
    if not program:
        raise ContainerError(
            f"There is nothing to run: image {spec.image or '(none)'} is an algorithm of"
            " SageMaker's own, or the request has neither the hyperparameter sagemaker_program"
            " (an estimator's entry_point) nor a ContainerEntrypoint."
        )
    code = host.folder.ml / "code"
    check_program(program, code)
    arguments = to_arguments(host.hyperparameters.user)
    return _script_entry(host, program, arguments, distribution, code)


def _script_entry(
    host: Host, program: str, arguments: list[str], distribution: Distribution, code: Path
) -> Entry:
    is_package = (code / "setup.py").is_file()
    if not program.endswith(".py"):
        if distribution.kind:
            raise ContainerError(
                f"The entry point {program!r} is no Python script, and `distribution` starts"
                " nothing else."
            )
        (code / program).chmod(0o755)
        words = [f"./{program}", *arguments]
        return _through_shell(program, words)
    if distribution.kind:
        words = [*distribution.words(host), program, *arguments]
        return _through_shell(program, words, processes=distribution.processes)
    if is_package:
        module = program.removesuffix(".py").replace("/", ".")
        return _through_shell(program, [sys.executable, "-m", module, *arguments])
    words = [sys.executable, program, *arguments]
    forkable = not has_shell_syntax(words)
    script_argv = tuple(_as_the_shell_would(words)[1:]) if forkable else None
    return _through_shell(program, words, script_argv=script_argv)


def _through_shell(
    program: str,
    words: list[str],
    *,
    processes: int = 1,
    script_argv: tuple[str, ...] | None = None,
) -> Entry:
    """What a shell makes of the words; a real one only where it has more to do than quotes.

    Not every shell hands on a variable such as `SM_HP_BATCH-SIZE`: bash does.
    """
    line = command_line(words)
    shell = next((sh for sh in ("/bin/bash", "/usr/bin/bash") if Path(sh).exists()), "/bin/sh")
    argv: tuple[str, ...] = (shell, "-c", f"exec {line}")
    if not has_shell_syntax(words):
        argv = tuple(_as_the_shell_would(words))
    return Entry(
        program=program, argv=argv, shown=line, script_argv=script_argv, processes=processes
    )


def _as_the_shell_would(words: list[str]) -> list[str]:
    return shlex.split(command_line(words))


def _with_real_prefix(word: str, host: Host) -> str:
    return word if host.private else re.sub(r"/opt/ml(?=[/\s\"';]|$)", host.ml, word)
