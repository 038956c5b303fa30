"""The hook: everything that is recorded of a training, and how little it costs."""

from houndsight.debugger.hook.hook import Hook
from houndsight.debugger.hook.listener import HookListener

__all__ = ["Hook", "HookListener"]
