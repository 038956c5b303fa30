"""What clients ask about a bucket's configuration, and what they may set because it is so.

Houndsight has one account: whoever holds a key may do everything, nothing is public, nothing
keeps versions. Questions are answered accordingly; a setting that would change nothing, or only
who else may read, is accepted; every other one is NotImplemented.
"""

from __future__ import annotations

from houndsight.aws.s3.buckets import owner
from houndsight.aws.s3.errors import s3_error
from houndsight.aws.s3.requests import S3Request, S3Response, xml_response
from houndsight.aws.s3.routes import Handler, handles
from houndsight.aws.s3.xml import NAMESPACE, Markup, element, parse
from houndsight.jobs.objects import ObjectStore

__all__: list[str] = []

NONE_SET = {
    "GetBucketCors": ("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
    "GetBucketLifecycleConfiguration": (
        "NoSuchLifecycleConfiguration",
        "The lifecycle configuration does not exist",
    ),
    "GetBucketPolicy": ("NoSuchBucketPolicy", "The bucket policy does not exist"),
    "GetBucketReplication": (
        "ReplicationConfigurationNotFoundError",
        "The replication configuration was not found",
    ),
    "GetBucketWebsite": (
        "NoSuchWebsiteConfiguration",
        "The specified bucket does not have a website configuration",
    ),
    "GetObjectLockConfiguration": (
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    ),
}
"""Questions whose answer is that there is none."""
ANSWERS = {
    "GetBucketAccelerateConfiguration": element("AccelerateConfiguration", namespace=NAMESPACE),
    "GetBucketEncryption": element(
        "ServerSideEncryptionConfiguration",
        element(
            "Rule",
            element("ApplyServerSideEncryptionByDefault", element("SSEAlgorithm", "AES256")),
            element("BucketKeyEnabled", "false"),
        ),
        namespace=NAMESPACE,
    ),
    "GetBucketLogging": element("BucketLoggingStatus", namespace=NAMESPACE),
    "GetBucketNotificationConfiguration": element("NotificationConfiguration", namespace=NAMESPACE),
    "GetBucketOwnershipControls": element(
        "OwnershipControls",
        element("Rule", element("ObjectOwnership", "BucketOwnerEnforced")),
        namespace=NAMESPACE,
    ),
    "GetBucketPolicyStatus": element(
        "PolicyStatus", element("IsPublic", "false"), namespace=NAMESPACE
    ),
    "GetBucketRequestPayment": element(
        "RequestPaymentConfiguration", element("Payer", "BucketOwner"), namespace=NAMESPACE
    ),
    "GetBucketVersioning": element("VersioningConfiguration", namespace=NAMESPACE),
    "GetPublicAccessBlock": element(
        "PublicAccessBlockConfiguration",
        *(
            element(name, "true")
            for name in (
                "BlockPublicAcls",
                "IgnorePublicAcls",
                "BlockPublicPolicy",
                "RestrictPublicBuckets",
            )
        ),
        namespace=NAMESPACE,
    ),
}
ACCEPTED = {
    "PutBucketAcl": 200,
    "PutBucketEncryption": 200,
    "PutBucketOwnershipControls": 200,
    "PutObjectAcl": 200,
    "PutPublicAccessBlock": 200,
    "DeleteBucketCors": 204,
    "DeleteBucketEncryption": 204,
    "DeleteBucketLifecycleConfiguration": 204,
    "DeleteBucketPolicy": 204,
    "DeleteBucketReplication": 204,
    "DeleteBucketWebsite": 204,
    "DeletePublicAccessBlock": 204,
}
"""Settings that change nothing here, and what their success is."""


@handles("GetBucketAcl")
def get_bucket_acl(store: ObjectStore, request: S3Request) -> S3Response:
    """The owner may do everything."""
    store.head_bucket(request.bucket)
    return xml_response(_full_control(store.account))


@handles("GetObjectAcl")
def get_object_acl(store: ObjectStore, request: S3Request) -> S3Response:
    """The owner may do everything."""
    store.head(request.bucket, request.key)
    return xml_response(_full_control(store.account))


@handles("PutBucketVersioning")
def put_versioning(store: ObjectStore, request: S3Request) -> S3Response:
    """Suspended is what it is; Enabled is not implemented."""
    store.head_bucket(request.bucket)
    if parse(request.body, "VersioningConfiguration").get("Status") == "Enabled":
        raise s3_error(
            "NotImplemented",
            "Houndsight keeps no versions: PutBucketVersioning is not implemented.",
        )
    return S3Response()


def _full_control(account: str) -> Markup:
    schema = ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"'
    grantee = element("Grantee", *_identity(account), attributes=schema)
    grant = element("Grant", grantee, element("Permission", "FULL_CONTROL"))
    content = (owner(account), element("AccessControlList", grant))
    return element("AccessControlPolicy", *content, namespace=NAMESPACE)


def _identity(account: str) -> list[Markup]:
    inner = owner(account).removeprefix("<Owner>").removesuffix("</Owner>")
    return [Markup(inner)]


def _missing(code: str, message: str) -> Handler:
    def answer(store: ObjectStore, request: S3Request) -> S3Response:
        store.head_bucket(request.bucket)
        raise s3_error(code, message, BucketName=request.bucket)

    return answer


def _fixed(root: Markup) -> Handler:
    def answer(store: ObjectStore, request: S3Request) -> S3Response:
        store.head_bucket(request.bucket)
        return xml_response(root)

    return answer


def _accepted(status: int) -> Handler:
    def answer(store: ObjectStore, request: S3Request) -> S3Response:
        if request.key:
            store.head(request.bucket, request.key)
        else:
            store.head_bucket(request.bucket)
        return S3Response(status=status)

    return answer


for _name, (_code, _message) in NONE_SET.items():
    handles(_name)(_missing(_code, _message))
for _name, _root in ANSWERS.items():
    handles(_name)(_fixed(_root))
for _name, _status in ACCEPTED.items():
    handles(_name)(_accepted(_status))
