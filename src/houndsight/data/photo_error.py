"""Why a photo cannot be used."""

from __future__ import annotations

import enum

from houndsight.errors import DataError

__all__ = ["PhotoError", "Reason"]


class Reason(enum.StrEnum):
    """The kinds of bad photo."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not-an-image"
    TRUNCATED = "truncated"
    DAMAGED = "damaged"
    TOO_LARGE = "too-large"
    CRASHES = "crashes"
    CHANGED = "changed"


_SENTENCES = {
    Reason.MISSING: "does not exist",
    Reason.UNREADABLE: "cannot be read",
    Reason.EMPTY: "is empty (zero bytes)",
    Reason.NOT_AN_IMAGE: "is not a photo",
    Reason.TRUNCATED: "is truncated",
    Reason.DAMAGED: "is damaged",
    Reason.TOO_LARGE: "is too large",
    Reason.CRASHES: "ends the process that decodes it",
    Reason.CHANGED: "was changed after it was checked",
}


class PhotoError(DataError):
    """One photo cannot be used; the others can.

    `reason` is the kind, `detail` what was found. `str()` is a sentence with the photo's name;
    `text` is `kind: detail`, which is what tables of errors hold.
    """

    def __init__(self, reason: Reason, detail: str = "", name: str = "") -> None:
        # What is no photo cannot be called one.
        name = name or ("This" if reason == Reason.NOT_AN_IMAGE else "The photo")
        said = f"{_SENTENCES[reason]}: {detail}" if detail else _SENTENCES[reason]
        super().__init__(f"{name} {said}.")
        self.reason = reason
        self.detail = detail

    @property
    def text(self) -> str:
        """`kind: detail`, without the photo's name."""
        return f"{self.reason}: {self.detail}" if self.detail else str(self.reason)

    def named(self, name: str) -> PhotoError:
        """The same error for a photo with a name."""
        return PhotoError(self.reason, self.detail, name)
