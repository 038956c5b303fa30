"""Which operation of S3 a request names: by method, level (service, bucket, object) and query."""

from __future__ import annotations

from collections.abc import Callable

from houndsight.aws.s3.errors import s3_error
from houndsight.aws.s3.requests import S3Request, S3Response
from houndsight.jobs.objects import ObjectStore

__all__ = ["Handler", "handles", "operation_of", "registered"]

Handler = Callable[[ObjectStore, S3Request], S3Response]
_HANDLERS: dict[str, Handler] = {}

BUCKET_SUBRESOURCES = {
    "accelerate": "BucketAccelerateConfiguration",
    "acl": "BucketAcl",
    "analytics": "BucketAnalyticsConfiguration",
    "cors": "BucketCors",
    "encryption": "BucketEncryption",
    "intelligent-tiering": "BucketIntelligentTieringConfiguration",
    "inventory": "BucketInventoryConfiguration",
    "lifecycle": "BucketLifecycleConfiguration",
    "location": "BucketLocation",
    "logging": "BucketLogging",
    "metadataConfiguration": "BucketMetadataConfiguration",
    "metadataTable": "BucketMetadataTableConfiguration",
    "metrics": "BucketMetricsConfiguration",
    "notification": "BucketNotificationConfiguration",
    "object-lock": "ObjectLockConfiguration",
    "ownershipControls": "BucketOwnershipControls",
    "policy": "BucketPolicy",
    "policyStatus": "BucketPolicyStatus",
    "publicAccessBlock": "PublicAccessBlock",
    "replication": "BucketReplication",
    "requestPayment": "BucketRequestPayment",
    "tagging": "BucketTagging",
    "versioning": "BucketVersioning",
    "website": "BucketWebsite",
}
OBJECT_SUBRESOURCES = {
    "acl": "ObjectAcl",
    "attributes": "ObjectAttributes",
    "legal-hold": "ObjectLegalHold",
    "retention": "ObjectRetention",
    "tagging": "ObjectTagging",
    "torrent": "ObjectTorrent",
}
VERBS = {"GET": "Get", "PUT": "Put", "DELETE": "Delete"}
PLAIN = {
    ("service", "GET"): "ListBuckets",
    ("bucket", "DELETE"): "DeleteBucket",
    ("bucket", "HEAD"): "HeadBucket",
    ("bucket", "POST"): "PostObject",
    ("bucket", "PUT"): "CreateBucket",
    ("object", "DELETE"): "DeleteObject",
    ("object", "GET"): "GetObject",
    ("object", "HEAD"): "HeadObject",
    ("object", "PUT"): "PutObject",
}
SPECIAL = {
    ("bucket", "POST", "delete"): "DeleteObjects",
    ("bucket", "GET", "uploads"): "ListMultipartUploads",
    ("bucket", "GET", "versions"): "ListObjectVersions",
    ("bucket", "GET", "session"): "CreateSession",
    ("object", "POST", "uploads"): "CreateMultipartUpload",
    ("object", "POST", "uploadId"): "CompleteMultipartUpload",
    ("object", "GET", "uploadId"): "ListParts",
    ("object", "DELETE", "uploadId"): "AbortMultipartUpload",
    ("object", "PUT", "partNumber"): "UploadPart",
    ("object", "POST", "select"): "SelectObjectContent",
    ("object", "POST", "restore"): "RestoreObject",
    ("object", "PUT", "renameObject"): "RenameObject",
}


def handles(name: str) -> Callable[[Handler], Handler]:
    """Register a function as the operation `name`."""

    def register(handler: Handler) -> Handler:
        assert name not in _HANDLERS, name
        _HANDLERS[name] = handler
        return handler

    return register


def registered(name: str) -> Handler:
    """The function of an operation.

    Raises:
        AwsError: NotImplemented, naming it.
    """
    handler = _HANDLERS.get(name)
    if handler is None:
        raise s3_error("NotImplemented", f"Houndsight does not implement {name} of s3 yet.")
    return handler


def operation_of(request: S3Request) -> str:
    """The operation's name as the SDKs have it.

    Raises:
        AwsError: MethodNotAllowed: there is none.
    """
    level = "object" if request.key else "bucket" if request.bucket else "service"
    name = _special(level, request) or _subresource(level, request)
    name = name or PLAIN.get((level, request.method), "")
    if name == "ListBuckets" and request.query.get("x-id") == "ListDirectoryBuckets":
        name = "ListDirectoryBuckets"
    if level == "bucket" and request.method == "GET" and not name:
        name = "ListObjectsV2" if request.query.get("list-type") == "2" else "ListObjects"
    if not name:
        raise s3_error(
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
            Method=request.method[:20],
            ResourceType=level.upper(),
        )
    if name in ("PutObject", "UploadPart") and "x-amz-copy-source" in request.headers:
        return {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}[name]
    return name


def _special(level: str, request: S3Request) -> str:
    return next(
        (
            name
            for (at, method, sub), name in SPECIAL.items()
            if at == level and method == request.method and sub in request.query
        ),
        "",
    )


def _subresource(level: str, request: S3Request) -> str:
    known = {"bucket": BUCKET_SUBRESOURCES, "object": OBJECT_SUBRESOURCES}.get(level, {})
    verb = VERBS.get(request.method)
    found = [noun for sub, noun in known.items() if sub in request.query]
    return f"{verb}{found[0]}" if found and verb else ""
