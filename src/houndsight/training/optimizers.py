"""Which parameters are trained, and how fast each block of the network learns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import SGD, AdamW, Optimizer

from houndsight.training.recipe import Recipe

if TYPE_CHECKING:
    from houndsight.models.classifier import Classifier

__all__ = [
    "blocks",
    "build_optimizer",
    "freeze",
    "parameter_groups",
    "train_mode",
    "trained_tensors",
]


def freeze(classifier: Classifier, recipe: Recipe) -> None:
    """Let only what `recipe.trainable` names have gradients."""
    classifier.requires_grad_(False)
    for part in _trained(classifier, recipe):
        part.requires_grad_(True)


def train_mode(classifier: Classifier, recipe: Recipe) -> None:
    """Dropout on in what is trained, everything else as in evaluation.

    BatchNorm keeps its statistics in the trunk always, elsewhere unless the recipe updates them.
    """
    classifier.eval()
    for part in _trained(classifier, recipe):
        part.train()
        for module in part.modules():
            if isinstance(module, _BatchNorm) and recipe.batch_norm == "frozen":
                module.eval()
    if recipe.trainable == "all":
        for module in classifier.backbone.trunk.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def trained_tensors(classifier: Classifier, recipe: Recipe) -> dict[str, Tensor]:
    """The tensors that training changes, by name: parameters and buffers of what is trained."""
    trained = {id(part) for part in _trained(classifier, recipe)}
    parts = {name: part for name, part in classifier.named_modules() if id(part) in trained}
    return {
        f"{name}.{key}": tensor
        for name, part in parts.items()
        for key, tensor in part.state_dict(keep_vars=True).items()
    }


def blocks(module: nn.Module) -> list[list[nn.Parameter]]:
    """The parameters of each block, from bottom to top; mere containers are looked into."""
    children = [child for child in module.children() if next(child.parameters(), None) is not None]
    own = list(module.parameters(recurse=False))
    if not own and len(children) == 1:
        return blocks(children[0])
    found = [own] if own else []
    for child in children:
        container = isinstance(child, nn.Sequential | nn.ModuleList)
        found += blocks(child) if container else [list(child.parameters())]
    return found


def parameter_groups(classifier: Classifier, recipe: Recipe) -> list[dict[str, Any]]:
    """Groups for an optimizer, each with `params`, `name`, `lr`, `peak_rate`, `weight_decay`.

    The head learns at its own rate. Below it, block k from the top learns at
    `learning_rate * layer_decay ** k`. Vectors (biases, normalisation) have no weight decay
    (Goyal et al. 2017, section 5.3).
    """
    head = list(classifier.head.parameters())
    groups = list(_split("head", head, recipe.head_learning_rate, recipe))
    stages: list[list[nn.Parameter]] = []
    if recipe.trainable == "all":
        stages += blocks(classifier.backbone.trunk)
    if recipe.trainable != "head":
        stages += blocks(classifier.backbone.stage)
    for depth, block in enumerate(reversed(stages)):
        rate = recipe.learning_rate * recipe.layer_decay**depth
        groups += _split(f"block {len(stages) - depth}", block, rate, recipe)
    return groups


def build_optimizer(classifier: Classifier, recipe: Recipe) -> Optimizer:
    """The recipe's optimizer over `parameter_groups`."""
    groups = parameter_groups(classifier, recipe)
    if recipe.optimizer == "adamw":
        return AdamW(groups, lr=recipe.learning_rate, fused=True)
    nesterov = recipe.momentum > 0
    return SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=nesterov, fused=True
    )


def _trained(classifier: Classifier, recipe: Recipe) -> list[nn.Module]:
    parts: list[nn.Module] = [classifier.head]
    if recipe.trainable in ("stage", "all"):
        parts.append(classifier.backbone.stage)
    if recipe.trainable == "all":
        parts.append(classifier.backbone.trunk)
    return parts


def _split(
    name: str, parameters: list[nn.Parameter], rate: float, recipe: Recipe
) -> Iterator[dict[str, Any]]:
    for suffix, decay, chosen in (
        ("", recipe.weight_decay, [p for p in parameters if p.ndim > 1]),
        (" (vectors)", 0.0, [p for p in parameters if p.ndim <= 1]),
    ):
        if chosen:
            yield {
                "params": chosen,
                "name": name + suffix,
                "lr": rate,
                "peak_rate": rate,
                "weight_decay": decay,
            }
