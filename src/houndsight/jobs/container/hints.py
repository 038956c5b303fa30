"""What a person can do about an error that scripts of this kind run into again and again."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from houndsight.jobs.spec import TrainingSpec

__all__ = ["Failed", "hint_for"]


@dataclass(frozen=True)
class Failed:
    """An ended script: its last error, the end of its log, the job, and why it has no /opt/ml."""

    message: str
    log: str
    spec: TrainingSpec
    no_private_folder: str = ""


def hint_for(failed: Failed) -> str:
    """One sentence with the way out, or ""."""
    for hint in _HINTS:
        text = hint(failed)
        if text:
            return text
    return ""


def _weights(failed: Failed) -> str:
    said = re.findall(
        r"^houndsight: (The weights \S+ are not on this machine.*)$", failed.log, re.M
    )
    if said:
        return str(said[-1])
    asked = re.findall(r'Downloading: "([^"]+/)?([\w.+-]+\.pth)"', failed.log)
    offline = re.search(r"urlopen error|URLError|HTTPError|RemoteDisconnected", failed.message)
    if not asked or not offline:
        return ""
    return (
        f"The weights {asked[-1][1]} are not on this machine and the network does not answer: put"
        " that file into the folder HOUNDSIGHT_WEIGHTS names."
    )


def _hard_coded(failed: Failed) -> str:
    if failed.no_private_folder and re.search(r"'/opt(/ml[^']*)?'", failed.message):
        return (
            f"This system gives a job no private /opt/ml ({failed.no_private_folder}): take the"
            " path from SM_MODEL_DIR, SM_CHANNEL_TRAINING and their like."
        )
    return ""


def _unknown_argument(failed: Failed) -> str:
    found = re.search(r"error: unrecognized arguments: (.+)", failed.message)
    if not found:
        return ""
    names = [word for word in found[1].split() if word.startswith("-")] or [found[1]]
    return (
        f"The script has no argument {', '.join(names[:4])}: add it to the ArgumentParser, or take"
        " it out of the estimator's hyperparameters or the tuner's ranges."
    )


def _wrong_type(failed: Failed) -> str:
    found = re.search(r"argument (\S+): invalid (\w+) value: (.+)", failed.message)
    if not found:
        return ""
    better = " (IntegerParameter gives whole numbers)" if found[2] == "int" else ""
    return f"{found[1]} got {found[3]}, which its type={found[2]} cannot read{better}."


def _no_channel(failed: Failed) -> str:
    found = re.search(r"KeyError: 'SM_CHANNEL_(\w+)'", failed.message)
    if not found:
        return ""
    names = ", ".join(channel.name for channel in failed.spec.channels) or "none"
    return (
        f"The job has no channel {found[1].lower()} (it has {names}): call"
        f" fit({{'{found[1].lower()}': …}}), or read another variable."
    )


def _no_module(failed: Failed) -> str:
    found = re.search(r"ModuleNotFoundError: No module named '([\w.]+)'", failed.message)
    if not found:
        return ""
    name = found[1].partition(".")[0]
    return f"Name {_PACKAGES.get(name, name)} in a requirements.txt beside the script."


_PACKAGES = {
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
    "PIL": "pillow",
}


def _no_cuda(failed: Failed) -> str:
    if re.search(
        r"Torch not compiled with CUDA|Found no NVIDIA driver|No CUDA GPUs", failed.message
    ):
        return (
            "This job has no GPU: use torch.device('cuda' if torch.cuda.is_available() else 'cpu')"
            " and torch.load(…, map_location=device)."
        )
    return ""


def _weights_only(failed: Failed) -> str:
    if "Weights only load failed" in failed.message:
        return (
            "The file holds more than tensors: save model.state_dict(), or load what you trust"
            " with torch.load(…, weights_only=False)."
        )
    return ""


def _disk_full(failed: Failed) -> str:
    if "No space left on device" in failed.message or "Disk quota exceeded" in failed.message:
        return "This machine's disk is full: free some space, then start the job again."
    return ""


def _shared_memory(failed: Failed) -> str:
    if "insufficient shared memory" in failed.message or "unable to mmap" in failed.message:
        return "Data loading workers ran out of shared memory (/dev/shm): use fewer num_workers."
    return ""


_HINTS: tuple[Callable[[Failed], str], ...] = (
    _weights,
    _hard_coded,
    _unknown_argument,
    _wrong_type,
    _no_channel,
    _no_module,
    _no_cuda,
    _weights_only,
    _disk_full,
    _shared_memory,
)
