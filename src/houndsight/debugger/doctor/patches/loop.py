"""Changes of the training loop: zero_grad(), train() and eval(), clipping."""

from __future__ import annotations

import libcst as cst

from houndsight.debugger.doctor.patches.script import NotLocatedError, Script, dotted

__all__ = ["clip_gradients", "evaluate_in_evaluation_mode", "train_in_training_mode", "zero_grad"]


def zero_grad(script: Script) -> str:
    """The text with gradients set to zero before the backward pass."""
    line = script.backward()
    return script.insert(line, f"{script.optimizer_at(line)}.zero_grad()\n")


def clip_gradients(script: Script, norm: float) -> str:
    """The text with gradients clipped after the backward pass."""
    if script.calls("clip_grad_norm_"):
        raise NotLocatedError("The script clips gradients already.")
    line = script.backward()
    name = f"{script.model_at(line)}.parameters()"
    new = f"torch.nn.utils.clip_grad_norm_({name}, max_norm={norm:g})\n"
    return script.insert(line, new, after=True)


def train_in_training_mode(script: Script) -> str:
    """The text with `model.train()` before the loop over batches."""
    line = script.backward()
    loop = script.nearest(line, cst.For)
    if loop is None:
        raise NotLocatedError("backward() does not stand in a for loop.")
    return script.insert(loop, f"{script.model_at(loop)}.train()\n")


def evaluate_in_evaluation_mode(script: Script) -> str:
    """The text with `model.eval()` before the block that computes without gradients."""
    found = [each for each in script.all(cst.With) if _without_gradients(each)]
    if len(found) != 1:
        raise NotLocatedError(
            f"There are {len(found)} blocks `with torch.no_grad()`; one is needed to be sure."
        )
    text = script.insert(found[0], f"{script.model_at(found[0])}.eval()\n")
    scope = script.scope(script.backward())
    if any(script.scope(call) is scope and not call.args for call in script.calls("train")):
        return text
    return train_in_training_mode(Script(text))


def _without_gradients(block: cst.With) -> bool:
    calls = [item.item for item in block.items if isinstance(item.item, cst.Call)]
    return any(dotted(c.func).split(".")[-1] in ("no_grad", "inference_mode") for c in calls)
