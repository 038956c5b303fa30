"""Operations on buckets."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from houndsight.aws.s3.errors import s3_error
from houndsight.aws.s3.headers import iso_time
from houndsight.aws.s3.requests import S3Request, S3Response, xml_response
from houndsight.aws.s3.routes import handles
from houndsight.aws.s3.xml import NAMESPACE, Markup, element, parse
from houndsight.jobs.objects import BucketInfo, ObjectError, ObjectStore

__all__ = ["owner"]

HOME_REGION = "us-east-1"
"""The region whose buckets have no LocationConstraint, and where making one's own again is fine."""


def owner(account: str, name: str = "Owner") -> Markup:
    """The account as S3 names it: by 64 hexadecimal digits."""
    identity = hashlib.sha256(account.encode()).hexdigest()
    return element(name, element("ID", identity), element("DisplayName", "houndsight"))


@handles("ListBuckets")
def list_buckets(store: ObjectStore, request: S3Request) -> S3Response:
    """All buckets, or with `max-buckets` page by page."""
    query = request.query
    most = request.number("max-buckets", 10_000, largest=10_000)
    prefix, region = query.get("prefix", ""), query.get("bucket-region", "")
    after = query.get("continuation-token", "")
    found = [
        bucket
        for bucket in store.buckets()
        if bucket.name.startswith(prefix) and bucket.name > after and region in ("", bucket.region)
    ]
    page, more = found[:most], len(found) > most
    content = [owner(store.account), element("Buckets", *map(_bucket, page))]
    if more and page:
        content.append(element("ContinuationToken", page[-1].name))
    if prefix:
        content.append(element("Prefix", prefix))
    return xml_response(element("ListAllMyBucketsResult", *content, namespace=NAMESPACE))


@handles("CreateBucket")
def create_bucket(store: ObjectStore, request: S3Request) -> S3Response:
    """A new bucket, in the region that the document names."""
    region = _wanted_region(request)
    try:
        store.create_bucket(request.bucket, region)
    except ObjectError as error:
        # us-east-1 answers with 200 when the bucket is one's own already.
        if error.code != "BucketAlreadyOwnedByYou" or region != HOME_REGION:
            raise
    return S3Response(headers=[("location", f"/{quote(request.bucket)}")])


@handles("HeadBucket")
def head_bucket(store: ObjectStore, request: S3Request) -> S3Response:
    """Whether there is such a bucket."""
    region = store.head_bucket(request.bucket).region
    return S3Response(
        headers=[
            ("content-type", "application/xml"),
            ("x-amz-bucket-region", region),
            ("x-amz-access-point-alias", "false"),
        ]
    )


@handles("DeleteBucket")
def delete_bucket(store: ObjectStore, request: S3Request) -> S3Response:
    """Delete an empty bucket."""
    store.delete_bucket(request.bucket)
    return S3Response(status=204)


@handles("GetBucketLocation")
def get_location(store: ObjectStore, request: S3Request) -> S3Response:
    """The region; empty for us-east-1."""
    region = store.head_bucket(request.bucket).region
    text = "" if region == HOME_REGION else region
    return xml_response(element("LocationConstraint", text, namespace=NAMESPACE))


def _wanted_region(request: S3Request) -> str:
    signed = request.identity.region or HOME_REGION
    wanted = ""
    if request.body.strip():
        wanted = parse(request.body, "CreateBucketConfiguration").get("LocationConstraint")
    if wanted == HOME_REGION:
        raise s3_error(
            "InvalidLocationConstraint",
            "The specified location-constraint is not valid",
            LocationConstraint=wanted,
        )
    if signed != HOME_REGION and wanted != signed:
        what = f"The {wanted}" if wanted else "The unspecified"
        raise s3_error(
            "IllegalLocationConstraintException",
            f"{what} location constraint is incompatible for the region specific endpoint this"
            " request was sent to.",
        )
    return wanted or HOME_REGION


def _bucket(info: BucketInfo) -> Markup:
    return element(
        "Bucket",
        element("Name", info.name),
        element("CreationDate", iso_time(info.created)),
        element("BucketRegion", info.region),
    )
