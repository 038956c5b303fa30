"""A pretrained network in two parts, cut at its fine-tuning boundary.

Weights are never random: `load_backbone` fills every parameter from a file or raises.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from houndsight.data.decode import Preprocessing
from houndsight.errors import SettingError, WeightsError
from houndsight.models.architecture import build_parts
from houndsight.models.sources.base import ResolvedWeights
from houndsight.models.sources.file import fit_state, recognise, resolve_file
from houndsight.models.sources.registry import (
    at_hand,
    downloadable,
    resolve,
)
from houndsight.models.table import BACKBONES, BackboneRow

__all__ = [
    "Backbone",
    "available_backbones",
    "build_backbone",
    "load_backbone",
    "reachable_backbones",
]


class Backbone(nn.Module):
    """Images (n, 3, s, s), normalised -> pooled features (n, feature_dim).

    `trunk` takes images to the activations at the boundary, (n, c, h, w) or tokens (n, t, d);
    it always stays in eval mode, so that its BatchNorm statistics are those it came with.
    `stage` takes activations to features and is what fine-tuning trains.
    """

    def __init__(
        self,
        row: BackboneRow,
        state: Mapping[str, Tensor],
        *,
        preprocessing: Preprocessing | None = None,
        origin: str = "",
        licence: str = "",
    ) -> None:
        super().__init__()
        self.row = row
        self.name = row.name
        self.feature_dim = row.feature_dim
        self.boundary = row.boundary
        self.preprocessing = preprocessing or row.preprocessing
        self.origin = origin
        self.licence = licence or row.licence
        trunk, stage = build_parts(row)
        self.trunk, self.stage = _filled(trunk, state), _filled(stage, state)
        self._hashes: dict[str, tuple[object, str]] = {}
        self.eval()

    @property
    def weights_hash(self) -> str:
        """What the weights are now, as 32 hex digits: BLAKE2b-128 of names, shapes and values.

        The same for every file format and with or without a classifier in the file; another
        one once the stage has been fine-tuned.
        """
        return self._hash("weights", self.trunk, self.stage)

    @property
    def trunk_hash(self) -> str:
        """The same of the trunk alone, which fine-tuning leaves as it is."""
        return self._hash("trunk", self.trunk)

    def _hash(self, what: str, *parts: nn.Module) -> str:
        state = {
            key: value
            for part in parts
            for key, value in part.state_dict().items()
            if not _is_counter(key)
        }
        # Every in-place change of a tensor counts its version up.
        stamp = tuple((tensor.data_ptr(), tensor._version) for tensor in state.values())
        if what not in self._hashes or self._hashes[what][0] != stamp:
            self._hashes[what] = (stamp, _hash(state))
        return self._hashes[what][1]

    def check_size(self, size: int) -> None:
        """Refuse an image size (px) the network cannot take.

        Raises:
            SettingError: a vision transformer takes one size only.
        """
        if self.row.trunk[0] == "patch_embed" and size != self.row.input_size:
            raise SettingError(
                f"{self.name} takes photos of {self.row.input_size} px and no other size; "
                f"{size} px were asked for (--size)."
            )

    def forward(self, images: Tensor) -> Tensor:
        """Pooled features (n, feature_dim)."""
        features: Tensor = self.stage(self.trunk(images))
        return features

    def train(self, mode: bool = True) -> Backbone:
        """Training mode for the stage; the trunk stays in eval mode."""
        super().train(mode)
        self.trunk.eval()
        return self


def load_backbone(name_or_path: str, *, weights: Path | None = None) -> Backbone:
    """The backbone `name_or_path` with pretrained weights.

    Takes a name of the table, or the path of a weights file, whose backbone is then recognised
    by its name and shapes. `weights` names the file to take for a named backbone.

    Raises:
        WeightsError: the name is unknown, or no source has usable weights; the sentence lists
            what is at hand and how to get the rest.
    """
    if name_or_path not in BACKBONES and (weights is None or _is_path(name_or_path)):
        path = Path(name_or_path)
        if not _is_path(name_or_path):
            raise WeightsError(
                f"There is no backbone {name_or_path!r}; there are {', '.join(BACKBONES)}, "
                f"or the path of a weights file. {_at_hand_sentence()}"
            )
        name = recognise(path)
        return _from(name, resolve_file(path, name))
    if name_or_path not in BACKBONES:
        raise WeightsError(
            f"There is no backbone {name_or_path!r}; there are {', '.join(BACKBONES)}."
        )
    if weights is not None:
        return _from(name_or_path, resolve_file(weights, name_or_path))
    return _from(name_or_path, resolve(name_or_path))


def build_backbone(
    name: str, state: Mapping[str, Tensor], *, preprocessing: Preprocessing | None = None
) -> Backbone:
    """The backbone `name` filled with `state`, such as a saved model's; no source is asked.

    `state` has the names of `Backbone.state_dict()` or of timm.

    Raises:
        WeightsError: the name is unknown, or `state` does not fill every parameter.
    """
    if name not in BACKBONES:
        raise WeightsError(
            f"This version knows no backbone {name!r}; it knows {', '.join(BACKBONES)}."
        )
    fitted = fit_state(state, name, origin="The saved model")
    return Backbone(BACKBONES[name], fitted, preprocessing=preprocessing, origin="a saved model")


def available_backbones() -> list[str]:
    """Names of the backbones whose weights are on this machine, in the table's order."""
    return [name for name in BACKBONES if at_hand(name)]


def reachable_backbones() -> list[str]:
    """Names of the backbones at hand or to be had over the network, which this asks for."""
    return [name for name in BACKBONES if at_hand(name) or downloadable(name)]


def _from(name: str, found: ResolvedWeights) -> Backbone:
    row, entry = BACKBONES[name], found.entry
    return Backbone(
        row,
        found.state,
        preprocessing=entry.preprocessing if entry else row.preprocessing,
        origin=found.origin,
        licence=entry.licence if entry else "unknown (a local file)",
    )


def _filled(part: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """The part with every parameter and buffer taken from `state`."""
    counters = {key: torch.tensor(0) for key in part.state_dict() if _is_counter(key)}
    own = {key: state[key] for key in part.state_dict() if not _is_counter(key)}
    assert {key for key, _ in part.named_buffers()} <= own.keys() | counters.keys()
    part = part.to_empty(device="cpu")
    part.load_state_dict(own | counters)
    return part


def _is_counter(key: str) -> bool:
    """BatchNorm's count of training batches, which no published trunk needs."""
    return key.endswith("num_batches_tracked")


def _hash(state: Mapping[str, Tensor]) -> str:
    """BLAKE2b-128 of names, shapes and float32 values: the same for every file format."""
    digest = hashlib.blake2b(digest_size=16)
    for key in sorted(state):
        value = state[key].detach().to(torch.float32).contiguous()
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.cpu().numpy().data)
    return digest.hexdigest()


def _is_path(text: str) -> bool:
    path = Path(text)
    return path.is_file() or path.suffix != "" or len(path.parts) > 1


def _at_hand_sentence() -> str:
    names = available_backbones()
    return f"Weights at hand: {', '.join(names) if names else 'none'}."
