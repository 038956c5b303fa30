"""What went wrong in a script: its own last line, where it was, and what a person can do."""

from __future__ import annotations

import re
import sys
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from houndsight.jobs.container.removed_names import replacement_for

__all__ = ["Trouble", "trouble_of"]

LONGEST = 1_500
SHOWN_KEYS = 3


@dataclass(frozen=True)
class Trouble:
    """An exception of the script."""

    kind: str
    """Its class."""
    message: str
    """Its own last line or lines: `RuntimeError: …`."""
    where: str = ""
    """`inference.py, line 12`: the innermost line that the person wrote."""
    advice: str = ""

    def to_json(self) -> dict[str, Any]:
        """As `failure.json` holds it."""
        return asdict(self)

    def print_trace(self, error: BaseException) -> None:
        """Write the trace to the log, without the frames of this package, and the advice."""
        own = str(Path(__file__).parent)
        cleaned = traceback.TracebackException.from_exception(error)
        part: traceback.TracebackException | None = cleaned
        while part is not None:
            kept = [frame for frame in part.stack if not frame.filename.startswith(own)]
            part.stack = traceback.StackSummary.from_list(kept)
            part = part.__cause__ or part.__context__
        print("".join(cleaned.format()), end="", file=sys.stderr, flush=True)
        if self.advice:
            print(f"houndsight: {self.advice}", file=sys.stderr, flush=True)


def trouble_of(error: BaseException, model_dir: Path) -> Trouble:
    """What to tell of an exception."""
    text = "".join(traceback.format_exception_only(error)).strip()
    if isinstance(error, SyntaxError):
        text = f"{type(error).__name__}: {error.msg} ({_file(error)}, line {error.lineno})"
    advice = next(filter(None, (hint(error, model_dir) for hint in HINTS)), "")
    return Trouble(type(error).__name__, text[:LONGEST], _where(error, model_dir), advice)


def _where(error: BaseException, model_dir: Path) -> str:
    """The innermost frame of the archive's code, across what the exception was raised from."""
    code = str(model_dir / "code")
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(code):
            name = frame.filename.removeprefix(code).lstrip("/")
            return f"{name}, line {frame.lineno}, in {frame.name}"
    return ""


def _file(error: SyntaxError) -> str:
    return Path(error.filename or "?").name


def _other_network(error: BaseException, _: Path) -> str:
    text = str(error)
    if "loading state_dict" not in text:
        return ""
    sizes = re.findall(
        r"size mismatch for (\S+): copying a param with shape torch\.Size\(\[(.*?)\]\) from"
        r" checkpoint, the shape in current model is torch\.Size\(\[(.*?)\]\)",
        text,
    )
    missing = _keys(text, r"Missing key\(s\) in state_dict: (.+?)\.(?:\s|$)")
    unexpected = _keys(text, r"Unexpected key\(s\) in state_dict: (.+?)\.(?:\s|$)")
    if any(key.startswith("module.") for key in unexpected):
        return (
            "The weights were saved from DataParallel (their names begin with 'module.'): save"
            " model.module.state_dict(), or take the prefix off before load_state_dict."
        )
    said = [
        f"{name} is ({of_file}) in the file and ({built}) in the network"
        for name, of_file, built in sizes[:SHOWN_KEYS]
    ]
    if missing:
        said.append(f"the network has {_some(missing)} and the file has not")
    if unexpected:
        said.append(f"the file has {_some(unexpected)} and the network has not")
    what = "The saved weights are another network's than the one model_fn builds"
    told = f": {'; '.join(said)}" if said else ""
    return f"{what}{told}. Build the same backbone and the same head as in the training."


def _keys(text: str, pattern: str) -> list[str]:
    found = re.search(pattern, text, re.S)
    return re.findall(r'"([^"]+)"', found[1]) if found else []


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return ", ".join(keys[:SHOWN_KEYS]) + more


def _state_dict_for_model(error: BaseException, _: Path) -> str:
    if re.search(r"OrderedDict' object (has no attribute '(eval|to)'|is not callable)", str(error)):
        return (
            "model_fn returned a state_dict where the network is needed: build the network, call"
            " load_state_dict on it and return it."
        )
    return ""


def _model_for_state_dict(error: BaseException, _: Path) -> str:
    text = str(error)
    if re.search(r"Expected state_dict to be dict-like, got <class", text):
        return (
            "The file holds a whole model, not a state_dict: save model.state_dict() in the"
            " training, or return what torch.load gives."
        )
    return ""


def _whole_model(error: BaseException, _: Path) -> str:
    if "Weights only load failed" in str(error):
        return (
            "The file holds more than tensors, such as a whole model: save model.state_dict(), or"
            " load what you trust with torch.load(…, weights_only=False)."
        )
    found = re.search(r"Can't get attribute '(\w+)' on <module '__main__'", str(error))
    if found:
        return (
            f"The file holds a whole model of class {found[1]}, which the training script defined:"
            " save model.state_dict() instead, and build the network in model_fn."
        )
    return ""


def _no_file(error: BaseException, model_dir: Path) -> str:
    if not isinstance(error, FileNotFoundError) or not str(error.filename or "").startswith(
        str(model_dir)
    ):
        return ""
    there = sorted(str(p.relative_to(model_dir)) for p in model_dir.rglob("*") if p.is_file())
    return f"The archive holds {', '.join(there[:8]) or 'nothing'}."


def _no_module(error: BaseException, _: Path) -> str:
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    name = error.name.partition(".")[0]
    packages = {"cv2": "opencv-python-headless", "sklearn": "scikit-learn", "PIL": "pillow"}
    return (
        f"Name {packages.get(name, name)} in a requirements.txt beside the inference script, or put"
        f" {name}.py beside it."
    )


def _no_gpu(error: BaseException, _: Path) -> str:
    if re.search(
        r"Torch not compiled with CUDA|Found no NVIDIA driver|No CUDA GPUs|deserialize object on a"
        r" CUDA device",
        str(error),
    ):
        return (
            "This endpoint has no GPU: use torch.device('cuda' if torch.cuda.is_available() else"
            " 'cpu') and torch.load(…, map_location=device)."
        )
    return ""


def _no_batch(error: BaseException, _: Path) -> str:
    if re.search(r"Expected (3D|4D|3D \(unbatched\)).*input|expected 4D input", str(error)):
        return "The network takes batches: give it image.unsqueeze(0)."
    return ""


def _removed_name(error: BaseException, _: Path) -> str:
    return replacement_for("".join(traceback.format_exception_only(error)))


HINTS = (
    _removed_name,
    _other_network,
    _state_dict_for_model,
    _model_for_state_dict,
    _whole_model,
    _no_file,
    _no_module,
    _no_gpu,
    _no_batch,
)
