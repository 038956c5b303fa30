"""S3's errors: their HTTP statuses and how they are written."""

from __future__ import annotations

from houndsight.aws.s3.xml import document, element
from houndsight.aws.service import AwsError
from houndsight.jobs.objects import ObjectError

__all__ = ["error_document", "from_store", "s3_error"]

STATUS = {
    "AccessDenied": 403,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "ConditionalRequestConflict": 409,
    "InsufficientStorage": 507,
    "InternalError": 500,
    "InvalidRange": 416,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchBucketPolicy": 404,
    "NoSuchCORSConfiguration": 404,
    "NoSuchKey": 404,
    "NoSuchLifecycleConfiguration": 404,
    "NoSuchTagSet": 404,
    "NoSuchUpload": 404,
    "NoSuchVersion": 404,
    "NoSuchWebsiteConfiguration": 404,
    "NotImplemented": 501,
    "NotModified": 304,
    "ObjectLockConfigurationNotFoundError": 404,
    "OperationAborted": 409,
    "PreconditionFailed": 412,
    "ReplicationConfigurationNotFoundError": 404,
    "RequestTimeout": 400,
    "SlowDown": 503,
}
"""Every other code is a 400."""


def s3_error(code: str, message: str, **fields: str) -> AwsError:
    """An error with the status that S3 gives it; `fields` are further elements."""
    return AwsError(code, message, status=STATUS.get(code, 400), fields=fields)


def from_store(error: ObjectError) -> AwsError:
    """The store's error as the client gets it."""
    fields = {"BucketName": error.bucket, "Key": error.key}
    if error.code == "NoSuchBucket":
        return s3_error(error.code, "The specified bucket does not exist", BucketName=error.bucket)
    return s3_error(error.code, error.message, **{k: v for k, v in fields.items() if v})


def error_document(error: AwsError, resource: str, request_id: str) -> bytes:
    """The body of an error."""
    return document(
        element(
            "Error",
            element("Code", error.code),
            element("Message", error.message),
            *(element(name, str(value)) for name, value in error.fields.items()),
            element("Resource", resource),
            element("RequestId", request_id),
        )
    )
