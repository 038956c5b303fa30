"""Names that newer libraries removed, and what took their place: told when a script fails by one.

The few that can be given back safely are shims in `houndsight.compat.legacy`; these are the rest,
and those too for jobs that ask for a current version.
"""

from __future__ import annotations

import re

__all__ = ["REMOVED", "replacement_for"]

_NUMPY = r"(?:module 'numpy' has no attribute|`np\.)\s?'?{}\b"
_IMPORT = r"cannot import name '{}' from '{}"
_ATTRIBUTE = r"(?:module '{1}' has no attribute '{0}'|cannot import name '{0}' from '{1})"

REMOVED: tuple[tuple[str, str, str], ...] = (
    (_NUMPY.format("float"), "np.float", "float"),
    (_NUMPY.format("int"), "np.int", "int"),
    (_NUMPY.format("bool"), "np.bool", "bool"),
    (_NUMPY.format("object"), "np.object", "object"),
    (_NUMPY.format("str"), "np.str", "str"),
    (_NUMPY.format("complex"), "np.complex", "complex"),
    (_NUMPY.format("float_"), "np.float_", "np.float64"),
    (_NUMPY.format("Inf"), "np.Inf", "np.inf"),
    (_NUMPY.format("NaN"), "np.NaN", "np.nan"),
    (_NUMPY.format("product"), "np.product", "np.prod"),
    (_NUMPY.format("in1d"), "np.in1d", "np.isin"),
    (_NUMPY.format("trapz"), "np.trapz", "np.trapezoid"),
    (_ATTRIBUTE.format("ANTIALIAS", "PIL.Image"), "Image.ANTIALIAS", "Image.LANCZOS"),
    (_ATTRIBUTE.format("LINEAR", "PIL.Image"), "Image.LINEAR", "Image.BILINEAR"),
    (_ATTRIBUTE.format("CUBIC", "PIL.Image"), "Image.CUBIC", "Image.BICUBIC"),
    (r"'ImageDraw' object has no attribute 'textsize'", "ImageDraw.textsize", "textbbox"),
    (r"has no attribute 'getsize'", "ImageFont.getsize", "getbbox"),
    (
        _ATTRIBUTE.format("Scale", "torchvision.transforms"),
        "transforms.Scale",
        "transforms.Resize",
    ),
    (
        _ATTRIBUTE.format("RandomSizedCrop", "torchvision.transforms"),
        "transforms.RandomSizedCrop",
        "transforms.RandomResizedCrop",
    ),
    (
        r"'torchvision\.models\.\w+' has no attribute 'model_urls'|cannot import name 'model_urls'",
        "torchvision.models.*.model_urls",
        "torch.hub.load_state_dict_from_url with ResNet50_Weights.IMAGENET1K_V1.url",
    ),
    (
        r"No module named 'torchvision\.models\.utils'",
        "torchvision.models.utils.load_state_dict_from_url",
        "torch.hub.load_state_dict_from_url",
    ),
    (
        r"unexpected keyword argument 'verbose'",
        "a scheduler's verbose=True",
        "print(scheduler.get_last_lr())",
    ),
    (r"No module named 'torch\._six'", "torch._six", "collections.abc and the builtin str"),
    (
        r"No module named 'smdistributed",
        "smdistributed, which exists on AWS alone,",
        "torch.distributed with backend='gloo' or 'nccl'",
    ),
    (r"No module named 'torchtext", "torchtext, which ended in 2024", "torch.utils.data"),
    (r"No module named 'apex", "apex", "torch.amp (autocast and GradScaler)"),
    (
        r"No module named 'torch\.utils\.serialization'|load_lua",
        "torch.utils.serialization.load_lua",
        "a state_dict saved by torch.save",
    ),
    (r"has no attribute 'onnx_export'", "onnx_export", "torch.onnx.export"),
    (
        r"module 'torch' has no attribute '(?:gels|lstsq)'",
        "torch.lstsq",
        "torch.linalg.lstsq(A, B), whose arguments stand the other way round",
    ),
    (r"module 'torch' has no attribute 'symeig'", "torch.symeig", "torch.linalg.eigh"),
    (r"module 'torch' has no attribute 'qr'", "torch.qr", "torch.linalg.qr"),
    (
        r"module 'torch' has no attribute 'rfft'",
        "torch.rfft",
        "torch.fft.rfft, which returns complex numbers",
    ),
    (
        r"No module named 'torch\.distributed\.deprecated'",
        "torch.distributed.deprecated",
        "torch.distributed",
    ),
    (
        r"has no attribute 'next'.*|'_\w*DataLoaderIter' object has no attribute 'next'",
        "iterator.next()",
        "next(iterator)",
    ),
    (
        r"cannot import name '(?:Mapping|MutableMapping|Sequence|Iterable|Callable)'"
        r" from 'collections'"
        r"|module 'collections' has no attribute '(?:Mapping|Sequence|Iterable|Callable)'",
        "the abstract classes in collections",
        "collections.abc",
    ),
    (r"No module named 'distutils'", "distutils", "setuptools or packaging.version"),
    (r"No module named 'imp'", "imp", "importlib"),
    (
        r"'str' object has no attribute 'decode'.*h5py|module 'pandas' has no attribute 'Panel'",
        "a name of an old library",
        "its current one",
    ),
    (
        r"'DataFrame' object has no attribute 'append'",
        "DataFrame.append",
        "pandas.concat([frame, more])",
    ),
    (
        r"cannot import name 'imread' from 'scipy\.misc|module 'scipy\.misc' has no attribute",
        "scipy.misc.imread and its siblings",
        "PIL.Image.open and Image.resize",
    ),
)
"""Pattern on the error's text, the name, and what takes its place."""


def replacement_for(message: str) -> str:
    """One sentence when the error comes from a removed name, else ""."""
    for pattern, name, replacement in REMOVED:
        if re.search(pattern, message):
            return f"{name} is not in what is installed here; use {replacement}."
    return ""
