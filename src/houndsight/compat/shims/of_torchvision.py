"""torchvision: names that 0.12 to 0.15 removed."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from houndsight.compat.saying import say_once
from houndsight.compat.shims.fallback import give

__all__ = ["make_models_utils", "restore_model_urls", "restore_transforms"]

TRANSFORMS = {"Scale": "Resize", "RandomSizedCrop": "RandomResizedCrop"}


def restore_transforms(transforms: ModuleType) -> None:
    """`transforms.Scale` is `transforms.Resize` again."""
    give(
        transforms,
        TRANSFORMS,
        lambda name: getattr(transforms, TRANSFORMS[name]),
        lambda name: (
            f"transforms.{name} was removed from torchvision; transforms.{TRANSFORMS[name]} stands"
            " in for it here."
        ),
    )


def restore_model_urls(module: ModuleType) -> None:
    """`resnet.model_urls["resnet50"]`: addresses of the first weights (IMAGENET1K_V1)."""

    def urls() -> dict[str, str]:
        from torchvision.models import get_model_weights, list_models

        here = [name for name in list_models() if name in vars(module)]
        found: dict[str, Any] = {name: get_model_weights(name) for name in here}
        first = {name: getattr(w, "IMAGENET1K_V1", None) for name, w in found.items()}
        return {name: weights.url for name, weights in first.items() if weights is not None}

    give(
        module,
        ["model_urls"],
        lambda _: urls(),
        lambda _: (
            f"{module.__name__}.model_urls was removed from torchvision; the addresses of the"
            " IMAGENET1K_V1 weights stand in for it here."
        ),
    )


def make_models_utils(module: ModuleType) -> None:
    """`torchvision.models.utils`, which held one function."""
    from torch.hub import load_state_dict_from_url

    say_once(
        "torchvision.models.utils",
        "torchvision.models.utils was removed; torch.hub.load_state_dict_from_url is used here.",
    )
    vars(module)["load_state_dict_from_url"] = load_state_dict_from_url
