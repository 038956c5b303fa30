"""Tags of objects and buckets."""

from __future__ import annotations

from collections.abc import Mapping

from houndsight.aws.s3.errors import s3_error
from houndsight.aws.s3.headers import check_tags
from houndsight.aws.s3.objects import check_version
from houndsight.aws.s3.requests import S3Request, S3Response, xml_response
from houndsight.aws.s3.routes import handles
from houndsight.aws.s3.xml import NAMESPACE, Markup, element, parse
from houndsight.jobs.objects import ObjectStore

__all__: list[str] = []

MOST_OF_BUCKET = 50


@handles("GetObjectTagging")
def get_object_tagging(store: ObjectStore, request: S3Request) -> S3Response:
    """An object's tags."""
    check_version(request)
    return xml_response(_tagging(store.head(request.bucket, request.key).properties.tags))


@handles("PutObjectTagging")
def put_object_tagging(store: ObjectStore, request: S3Request) -> S3Response:
    """Replace an object's tags."""
    check_version(request)
    store.retag(request.bucket, request.key, _read(request.body, 10))
    return S3Response()


@handles("DeleteObjectTagging")
def delete_object_tagging(store: ObjectStore, request: S3Request) -> S3Response:
    """Take all tags from an object."""
    check_version(request)
    store.retag(request.bucket, request.key, {})
    return S3Response(status=204)


@handles("GetBucketTagging")
def get_bucket_tagging(store: ObjectStore, request: S3Request) -> S3Response:
    """A bucket's tags."""
    tags = store.head_bucket(request.bucket).tags
    if not tags:
        raise s3_error("NoSuchTagSet", "The TagSet does not exist", BucketName=request.bucket)
    return xml_response(_tagging(tags))


@handles("PutBucketTagging")
def put_bucket_tagging(store: ObjectStore, request: S3Request) -> S3Response:
    """Replace a bucket's tags."""
    store.tag_bucket(request.bucket, _read(request.body, MOST_OF_BUCKET))
    return S3Response(status=204)


@handles("DeleteBucketTagging")
def delete_bucket_tagging(store: ObjectStore, request: S3Request) -> S3Response:
    """Take all tags from a bucket."""
    store.tag_bucket(request.bucket, {})
    return S3Response(status=204)


def _read(body: bytes, most: int) -> dict[str, str]:
    sets = parse(body, "Tagging").all("TagSet")
    tags = [tag for group in sets for tag in group.all("Tag")]
    return check_tags([(tag.get("Key"), tag.get("Value")) for tag in tags], most=most)


def _tagging(tags: Mapping[str, str]) -> Markup:
    found = [
        element("Tag", element("Key", name), element("Value", value))
        for name, value in tags.items()
    ]
    return element("Tagging", element("TagSet", *found), namespace=NAMESPACE)
