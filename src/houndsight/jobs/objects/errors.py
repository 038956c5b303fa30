"""What can go wrong in the object store, by S3's own names."""

from __future__ import annotations

from houndsight.errors import HoundsightError

__all__ = ["ObjectError"]


class ObjectError(HoundsightError):
    """The store cannot do what was asked.

    `code` is S3's (NoSuchBucket, NoSuchKey, PreconditionFailed, InsufficientStorage …), the text
    S3's sentence where it has one; `bucket` and `key` name what it is about.
    """

    def __init__(self, code: str, message: str, *, bucket: str = "", key: str = "") -> None:
        super().__init__(message)
        self.code, self.message, self.bucket, self.key = code, message, bucket, key

    @classmethod
    def no_bucket(cls, bucket: str) -> ObjectError:
        """There is no such bucket."""
        return cls("NoSuchBucket", f"The specified bucket does not exist: {bucket}", bucket=bucket)

    @classmethod
    def no_key(cls, bucket: str, key: str) -> ObjectError:
        """There is no such object."""
        return cls("NoSuchKey", "The specified key does not exist.", bucket=bucket, key=key)

    @classmethod
    def no_upload(cls) -> ObjectError:
        """There is no such multipart upload, or no longer."""
        return cls(
            "NoSuchUpload",
            "The specified upload does not exist. The upload ID may be invalid, or the upload may"
            " have been aborted or completed.",
        )

    @classmethod
    def refused(cls, header: str) -> ObjectError:
        """A condition of the request does not hold."""
        return cls(
            "PreconditionFailed",
            f"At least one of the pre-conditions you specified did not hold ({header}).",
        )
