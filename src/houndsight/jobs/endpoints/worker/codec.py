"""Bodies of requests and answers for scripts without `input_fn` or `output_fn`: JSON, CSV, NPY.

As sagemaker-inference 1.10.1 (`decoder`, `encoder`) and sagemaker-pytorch-inference 2.0.25 do it,
except that an NPY body may not hold pickled objects: anybody may send one.
"""

from __future__ import annotations

import io
import json
from typing import Any

__all__ = [
    "CSV",
    "JSON",
    "NPY",
    "TEXT_TYPES",
    "UnsupportedFormatError",
    "decode",
    "encode",
    "media",
    "plain",
]

JSON, CSV, NPY, NPZ = "application/json", "text/csv", "application/x-npy", "application/x-npz"
TEXT_TYPES = (JSON, CSV)


class UnsupportedFormatError(Exception):
    """A content type that only a function of the script could deal with."""

    def __init__(self, content_type: str | None) -> None:
        super().__init__(
            f"Content type {content_type} is not supported by this framework. Please implement"
            " input_fn to deserialize the request data or an output_fn to serialize the response."
        )


def media(content_type: str | None) -> str:
    """`text/csv` of `text/csv; charset=utf-8`."""
    return (content_type or "").partition(";")[0].strip().lower()


def decode(body: str | bytes | bytearray, content_type: str | None) -> Any:
    """A NumPy array, or a sparse matrix.

    Raises:
        UnsupportedFormatError: the type is none of the four.
        ValueError: the body is not what the type says.
    """
    kind = media(content_type)
    if kind in TEXT_TYPES and not isinstance(body, str):
        body = bytes(body).decode()
    import numpy as np

    if kind == JSON:
        return np.array(json.loads(body))
    if kind == CSV:
        return np.genfromtxt(io.StringIO(str(body)), delimiter=",")
    if kind == NPY:
        assert not isinstance(body, str)
        return np.load(io.BytesIO(body), allow_pickle=False)
    if kind == NPZ:
        import scipy.sparse

        assert not isinstance(body, str)
        return scipy.sparse.load_npz(io.BytesIO(body))
    raise UnsupportedFormatError(content_type)


def encode(value: Any, accept: str) -> tuple[str | bytes, str]:
    """The answer's body and its type: the first type of `accept` that can be written.

    Raises:
        UnsupportedFormatError: there is none.
    """
    for part in accept.split(","):
        kind = media(part)
        if kind in (JSON, "*/*", "application/*"):
            return json.dumps(value, default=plain), JSON
        import numpy as np

        if kind == CSV:
            stream = io.StringIO()
            np.savetxt(stream, np.atleast_1d(np.asarray(value)), delimiter=",", fmt="%s")
            return stream.getvalue(), CSV
        if kind == NPY:
            buffer = io.BytesIO()
            np.save(buffer, np.asarray(value))
            return buffer.getvalue(), NPY
    raise UnsupportedFormatError(accept)


def plain(value: Any) -> Any:
    """What `json` cannot write itself: arrays and tensors.

    Raises:
        TypeError: it is neither.
    """
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(
        f"output_fn or predict_fn returned {type(value).__name__}, which is no JSON: return lists,"
        " numbers and strings, or write an output_fn."
    )
