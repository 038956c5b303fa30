"""The device a training runs on and the arithmetic of its forward pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from houndsight.errors import SettingError

__all__ = ["Precision", "choose_device", "choose_precision"]


@dataclass(frozen=True)
class Precision:
    """`fp32`, `bf16` or `fp16` on a device; weights and optimizer stay in fp32."""

    name: str
    device: torch.device

    def autocast(self) -> torch.autocast:
        """The context of the forward pass."""
        dtype = torch.float16 if self.name == "fp16" else torch.bfloat16
        return torch.autocast(self.device.type, dtype, enabled=self.name != "fp32")

    def scaler(self) -> torch.amp.GradScaler:
        """The gradient scaler; it does nothing unless the arithmetic is fp16.

        Micikevicius et al. 2018, "Mixed Precision Training", section 3.2.
        """
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")


def choose_device(wanted: str, local_rank: int = 0) -> torch.device:
    """The device for `auto`, `cpu` or `cuda`; of several GPUs, the process's own.

    Raises:
        SettingError: a GPU is asked for and PyTorch sees none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SettingError(
            "training.device is cuda, but PyTorch sees no GPU here; use auto or cpu."
        )
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", local_rank)


def choose_precision(wanted: str, device: torch.device) -> Precision:
    """The arithmetic for `auto`, `fp32`, `bf16` or `fp16` on a device.

    On a CPU `auto` goes by its instructions and not by a stopwatch, so that the same machine
    always gives the same weights.

    Raises:
        SettingError: fp16 is asked of a CPU.
    """
    if device.type == "cpu":
        if wanted == "fp16":
            raise SettingError("training.precision is fp16, which needs a GPU; use bf16 or fp32.")
        name = ("bf16" if _cpu_has_bf16() else "fp32") if wanted == "auto" else wanted
        return Precision(name, device)
    if wanted != "auto":
        return Precision(wanted, device)
    return Precision("bf16" if torch.cuda.is_bf16_supported(False) else "fp16", device)


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bf16 in hardware; emulated, it is slower than fp32."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    if ask is None:
        return bool(torch.cpu._is_avx512_bf16_supported())
    found = ask()
    return bool(found.get("amx_bf16") or found.get("avx512_bf16"))
