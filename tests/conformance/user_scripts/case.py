"""What a case is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import dedent


@dataclass(frozen=True, kw_only=True)
class Case:
    """A script, how it is started, and what must come of it."""

    name: str
    script: str
    entry: str = "train.py"
    files: Mapping[str, str] = field(default_factory=dict)
    """What lies beside it in the source archive."""
    hyperparameters: Mapping[str, str] = field(default_factory=dict)
    """As the client sends them: JSON in strings."""
    channels: Sequence[str] = ("training",)
    input_mode: str = "File"
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Regex by name."""
    framework: str = "1.8-cpu-py36"
    hosts: int = 1
    hooked: bool = False
    """Asks for the debugger's hook and two rules."""
    weights: bool = False
    """Finds pretrained weights on the machine."""
    checkpoints: bool = False

    status: str = "Completed"
    logged: Sequence[str] = ()
    """Patterns that must stand in the log."""
    failure: Sequence[str] = ()
    """Patterns that must stand in FailureReason."""
    values: Mapping[str, float] = field(default_factory=dict)
    """Final value by metric."""
    archive: Sequence[str] = ()
    """Names in `model.tar.gz`."""
    output: Sequence[str] = ()
    """Names in `output.tar.gz`."""
    tensors: Sequence[str] = ()
    """Names that the debugger's trial must hold."""

    @property
    def source(self) -> dict[str, str]:
        """Every file of the source archive."""
        return {self.entry: dedent(self.script), **{n: dedent(t) for n, t in self.files.items()}}
