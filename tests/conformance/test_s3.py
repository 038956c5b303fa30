"""S3 as boto3 sees it."""

from __future__ import annotations

import base64
import hashlib
import http.client
import io
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

import pytest
from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from s3_server import S3Server, running

from houndsight.aws.s3.checksums import make_checksum

MIB = 1 << 20
ODD_KEYS = (
    "plain.txt",
    "x",
    "x/y",
    "x/y/",
    "a b/ä ö/\u65e5\u672c.jpg",
    'plus+and&amp;<b>"quoted"\'.txt',
    "../../etc/passwd",
    "..",
    "/leading",
    "//",
    "a//b",
    "per%20cent%2Fs",
    "question?mark#hash",
    "new\nline\ttab\rreturn",
    "\U0001f415",
    "e\u0301 and \u00e9",
    "~tilde*star!",
    "a" * 1024,
)


def refused(call: Any, code: str, status: int | None = None) -> ClientError:
    with pytest.raises(ClientError) as caught:
        call()
    assert caught.value.response["Error"]["Code"] == code
    if status is not None:
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    return caught.value


def content(s3: Any, bucket: str, key: str, **more: Any) -> bytes:
    with s3.get_object(Bucket=bucket, Key=key, **more)["Body"] as body:
        return body.read()


# -- buckets ----------------------------------------------------------------------------------


def test_bucket_life(s3: Any) -> None:
    """As `default_bucket()` goes: list, head with the owner, 404, create, head."""
    name, owner = "sagemaker-us-east-1-000000000000", "000000000000"
    assert name not in [b["Name"] for b in s3.list_buckets()["Buckets"]]
    error = refused(lambda: s3.head_bucket(Bucket=name, ExpectedBucketOwner=owner), "404")
    assert error.response["Error"]["Message"] == "Not Found"
    assert s3.create_bucket(Bucket=name)["Location"] == f"/{name}"
    s3.create_bucket(Bucket=name)  # again: fine in us-east-1
    head = s3.head_bucket(Bucket=name, ExpectedBucketOwner=owner)
    assert head["BucketRegion"] == "us-east-1"
    error = refused(lambda: s3.head_bucket(Bucket=name, ExpectedBucketOwner="1" * 12), "403")
    assert error.response["Error"]["Message"] == "Forbidden"
    listed = s3.list_buckets()
    assert name in [b["Name"] for b in listed["Buckets"]]
    assert listed["Owner"]["ID"]
    assert s3.get_bucket_location(Bucket=name)["LocationConstraint"] is None
    s3.put_object(Bucket=name, Key="k", Body=b"")
    refused(lambda: s3.delete_bucket(Bucket=name), "BucketNotEmpty", 409)
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)
    refused(lambda: s3.delete_bucket(Bucket=name), "NoSuchBucket", 404)


def test_bucket_regions(s3_server: S3Server) -> None:
    west = s3_server.client(region="eu-west-1")
    there = {"LocationConstraint": "eu-west-1"}
    west.create_bucket(Bucket="in-the-west", CreateBucketConfiguration=there)
    assert west.get_bucket_location(Bucket="in-the-west")["LocationConstraint"] == "eu-west-1"
    again = lambda: west.create_bucket(  # noqa: E731
        Bucket="in-the-west", CreateBucketConfiguration=there
    )
    refused(again, "BucketAlreadyOwnedByYou", 409)
    refused(lambda: west.create_bucket(Bucket="nowhere"), "IllegalLocationConstraintException", 400)


@pytest.mark.parametrize("name", ["Upper", "ab", "a..b", "192.168.0.1", "-ab", "under_score"])
def test_bad_bucket_names(s3_server: S3Server, name: str) -> None:
    client = s3_server.client()
    client.meta.events.unregister("before-parameter-build.s3")
    refused(lambda: client.create_bucket(Bucket=name), "InvalidBucketName", 400)


def test_list_buckets_in_pages(s3: Any) -> None:
    for number in range(5):
        s3.create_bucket(Bucket=f"paged-{number}")
    pages = s3.get_paginator("list_buckets").paginate(
        Prefix="paged-", PaginationConfig={"PageSize": 2}
    )
    names = [[b["Name"] for b in page["Buckets"]] for page in pages]
    assert names == [["paged-0", "paged-1"], ["paged-2", "paged-3"], ["paged-4"]]


def test_bucket_questions(s3: Any, bucket: str) -> None:
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    assert s3.get_bucket_acl(Bucket=bucket)["Grants"][0]["Permission"] == "FULL_CONTROL"
    rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"]
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] is False
    refused(lambda: s3.get_bucket_policy(Bucket=bucket), "NoSuchBucketPolicy", 404)
    refused(lambda: s3.get_bucket_cors(Bucket=bucket), "NoSuchCORSConfiguration", 404)
    refused(
        lambda: s3.get_bucket_lifecycle_configuration(Bucket=bucket),
        "NoSuchLifecycleConfiguration",
        404,
    )
    refused(lambda: s3.get_bucket_acl(Bucket="no-such-bucket"), "NoSuchBucket", 404)
    error = refused(lambda: s3.put_bucket_policy(Bucket=bucket, Policy="{}"), "NotImplemented", 501)
    assert "PutBucketPolicy" in str(error)


def test_tags(s3: Any, bucket: str) -> None:
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b & <c>", "Value": "ü"}]
    refused(lambda: s3.get_bucket_tagging(Bucket=bucket), "NoSuchTagSet", 404)
    s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": tags})
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == tags
    s3.delete_bucket_tagging(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", Tagging="x=1&y=a%20b")
    assert s3.get_object(Bucket=bucket, Key="k")["TagCount"] == 2
    found = s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"]
    assert found == [{"Key": "x", "Value": "1"}, {"Key": "y", "Value": "a b"}]
    s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": tags})
    s3.copy_object(Bucket=bucket, Key="k2", CopySource={"Bucket": bucket, "Key": "k"})
    assert s3.get_object_tagging(Bucket=bucket, Key="k2")["TagSet"] == tags
    s3.delete_object_tagging(Bucket=bucket, Key="k")
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []
    twice = {"TagSet": [{"Key": "a", "Value": "1"}] * 2}
    refused(lambda: s3.put_object_tagging(Bucket=bucket, Key="k", Tagging=twice), "InvalidTag")


# -- objects ----------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_odd_keys(s3: Any, bucket: str, key: str) -> None:
    body = key.encode()
    s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"k": "v"})
    assert content(s3, bucket, key) == body
    assert s3.head_object(Bucket=bucket, Key=key)["ContentLength"] == len(body)
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    assert [o["Key"] for o in s3.list_objects(Bucket=bucket)["Contents"]] == [key]
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": key})
    assert content(s3, bucket, "copy") == body
    s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    refused(lambda: s3.get_object(Bucket=bucket, Key=key), "NoSuchKey", 404)


def test_keys_never_leave_their_root(s3_server: S3Server, s3: Any, bucket: str) -> None:
    before = {p for p in s3_server.folder.parent.rglob("*") if "objects" not in p.parts}
    for key in ("../../../../escaped", "/etc/escaped", "..", "a/../../../escaped", "./x"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"out")
        assert s3_server.store.path(bucket, key).is_relative_to(s3_server.store.folder)
    after = {p for p in s3_server.folder.parent.rglob("*") if "objects" not in p.parts}
    assert after == before


def test_too_long_a_key(s3: Any, bucket: str) -> None:
    refused(lambda: s3.put_object(Bucket=bucket, Key="ä" * 513, Body=b""), "KeyTooLongError", 400)


def test_missing(s3: Any, bucket: str) -> None:
    for call in (s3.get_object, s3.head_object):
        code = "NoSuchKey" if call == s3.get_object else "404"
        refused(lambda call=call: call(Bucket=bucket, Key="none"), code, 404)
    error = refused(lambda: s3.head_object(Bucket=bucket, Key="none"), "404")
    assert str(error).startswith("An error occurred (404) when calling the HeadObject operation")
    assert str(error).endswith(": Not Found")
    refused(lambda: s3.get_object(Bucket="no-bucket", Key="k"), "NoSuchBucket", 404)
    refused(lambda: s3.put_object(Bucket="no-bucket", Key="k", Body=b"1"), "NoSuchBucket", 404)
    refused(lambda: s3.list_objects_v2(Bucket="no-bucket"), "NoSuchBucket", 404)
    s3.delete_object(Bucket=bucket, Key="none")


def test_headers_are_kept(s3: Any, bucket: str) -> None:
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    s3.put_object(
        Bucket=bucket,
        Key="k",
        Body=b"body",
        ContentType="image/jpeg",
        CacheControl="max-age=5",
        ContentDisposition='attachment; filename="a.jpg"',
        ContentEncoding="gzip",
        ContentLanguage="de",
        Expires=expires,
        Metadata={"Breed": "Affenpinscher", "empty": ""},
        ServerSideEncryption="AES256",
        StorageClass="STANDARD_IA",
        ACL="bucket-owner-full-control",
    )
    for found in (s3.head_object(Bucket=bucket, Key="k"), s3.get_object(Bucket=bucket, Key="k")):
        assert found["ContentType"] == "image/jpeg"
        assert found["CacheControl"] == "max-age=5"
        assert found["ContentDisposition"] == 'attachment; filename="a.jpg"'
        assert found["ContentEncoding"] == "gzip"
        assert found["ContentLanguage"] == "de"
        assert found["Metadata"] == {"breed": "Affenpinscher", "empty": ""}
        assert found["ServerSideEncryption"] == "AES256"
        assert found["StorageClass"] == "STANDARD_IA"
        assert found["ETag"] == f'"{hashlib.md5(b"body").hexdigest()}"'
        assert abs(found["LastModified"] - datetime.now(UTC)) < timedelta(minutes=5)
    listed = s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    assert listed["StorageClass"] == "STANDARD_IA"
    assert listed["ETag"] == found["ETag"]
    shown = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="text/x")
    assert shown["ContentType"] == "text/x"
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    assert s3.head_object(Bucket=bucket, Key="k")["ContentType"] == "binary/octet-stream"


def test_too_much_metadata(s3: Any, bucket: str) -> None:
    call = lambda: s3.put_object(  # noqa: E731
        Bucket=bucket, Key="k", Body=b"", Metadata={"a": "b" * 3000}
    )
    refused(call, "MetadataTooLarge", 400)


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-5", 2, 6),
        ("bytes=7-", 7, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-30", 0, 10),
        ("bytes=5-500", 5, 10),
    ],
)
def test_ranges(s3: Any, bucket: str, asked: str, begin: int, end: int) -> None:
    body = b"0123456789"
    s3.put_object(Bucket=bucket, Key="k", Body=body)
    found = s3.get_object(Bucket=bucket, Key="k", Range=asked)
    assert found["Body"].read() == body[begin:end]
    assert found["ContentRange"] == f"bytes {begin}-{end - 1}/10"
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 206
    # A checksum of the whole on a part makes boto3 fail: there must be none.
    headers = found["ResponseMetadata"]["HTTPHeaders"]
    assert not [name for name in headers if name.startswith("x-amz-checksum")]
    assert s3.head_object(Bucket=bucket, Key="k", Range=asked)["ContentLength"] == end - begin


def test_ranges_that_cannot_be(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    for key, asked in (("k", "bytes=10-"), ("k", "bytes=-0"), ("empty", "bytes=0-0")):
        read = lambda key=key, asked=asked: s3.get_object(  # noqa: E731
            Bucket=bucket, Key=key, Range=asked
        )
        refused(read, "InvalidRange", 416)
    for asked in ("bytes=5-2", "bytes=a-b", "bytes=0-1,3-4", "lines=1-2", "bytes=-"):
        assert content(s3, bucket, "k", Range=asked) == b"0123456789"


def test_conditional_reads(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    past, future = datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC) + timedelta(hours=1)
    for good in (
        {"IfMatch": etag},
        {"IfMatch": "*"},
        {"IfNoneMatch": '"other"'},
        {"IfModifiedSince": past},
        {"IfUnmodifiedSince": future},
        {"IfMatch": etag, "IfUnmodifiedSince": past},
        {"IfNoneMatch": '"other"', "IfModifiedSince": future},
    ):
        assert content(s3, bucket, "k", **good) == b"1"
    for bad in ({"IfMatch": '"other"'}, {"IfUnmodifiedSince": past}):
        read = lambda bad=bad: s3.get_object(Bucket=bucket, Key="k", **bad)  # noqa: E731
        refused(read, "PreconditionFailed", 412)
    for same in ({"IfNoneMatch": etag}, {"IfModifiedSince": future}):
        head = lambda same=same: s3.head_object(Bucket=bucket, Key="k", **same)  # noqa: E731
        unchanged = refused(head, "304", 304)
        assert unchanged.response["ResponseMetadata"]["HTTPHeaders"]["etag"] == etag


def test_conditional_puts(s3: Any, bucket: str) -> None:
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    put = lambda **c: s3.put_object(Bucket=bucket, Key="k", Body=b"2", **c)  # noqa: E731
    refused(lambda: put(IfNoneMatch="*"), "PreconditionFailed", 412)
    refused(lambda: put(IfMatch='"other"'), "PreconditionFailed", 412)
    assert content(s3, bucket, "k") == b"1"
    put(IfMatch=etag)
    assert content(s3, bucket, "k") == b"2"
    nothing = lambda: s3.put_object(  # noqa: E731
        Bucket=bucket, Key="none", Body=b"", IfMatch=etag
    )
    refused(nothing, "NoSuchKey", 404)


def test_one_of_many_conditional_puts_wins(s3: Any, bucket: str) -> None:
    def put(number: int) -> bool:
        try:
            s3.put_object(Bucket=bucket, Key="k", Body=b"%d" % number, IfNoneMatch="*")
        except ClientError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert won.count(True) == 1
    assert content(s3, bucket, "k") == b"%d" % won.index(True)


def test_copies(s3: Any, bucket: str) -> None:
    source = {"Bucket": bucket, "Key": "from/ä b+c"}
    s3.put_object(**source, Body=b"body", ContentType="text/plain", Metadata={"a": "1"})
    copied = s3.copy_object(Bucket=bucket, Key="to", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(b"body").hexdigest()}"'
    found = s3.get_object(Bucket=bucket, Key="to")
    assert (found["Body"].read(), found["Metadata"]) == (b"body", {"a": "1"})
    assert found["ContentType"] == "text/plain"
    s3.copy_object(
        Bucket=bucket,
        Key="to",
        CopySource=source,
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
        ContentType="text/html",
    )
    found = s3.head_object(Bucket=bucket, Key="to")
    assert (found["Metadata"], found["ContentType"]) == ({"b": "2"}, "text/html")
    itself = {"Bucket": bucket, "Key": "to"}
    refused(lambda: s3.copy_object(**itself, CopySource=itself), "InvalidRequest", 400)
    s3.copy_object(**itself, CopySource=itself, MetadataDirective="REPLACE", Metadata={"c": "3"})
    assert s3.head_object(**itself)["Metadata"] == {"c": "3"}
    missing = {"Bucket": bucket, "Key": "none"}
    refused(lambda: s3.copy_object(**itself, CopySource=missing), "NoSuchKey", 404)
    unmatched = lambda: s3.copy_object(  # noqa: E731
        **itself, CopySource=source, CopySourceIfMatch='"x"'
    )
    refused(unmatched, "PreconditionFailed", 412)
    s3.delete_object(**source)
    assert content(s3, bucket, "to") == b"body"


def test_delete_many(s3: Any, bucket: str) -> None:
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"")
    wanted = [{"Key": f"k{number}"} for number in range(3)] + [{"Key": "none & <nothing>"}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": wanted})
    assert answer["Deleted"] == wanted
    quiet = {"Objects": [{"Key": "k3"}], "Quiet": True}
    assert "Deleted" not in s3.delete_objects(Bucket=bucket, Delete=quiet)
    assert [o["Key"] for o in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k4"]
    many = {"Objects": [{"Key": str(n)} for n in range(1001)]}
    refused(lambda: s3.delete_objects(Bucket=bucket, Delete=many), "MalformedXML", 400)


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_checksums(s3_server: S3Server, s3: Any, bucket: str, algorithm: str) -> None:
    body = random.Random(1).randbytes(3000)
    checksum = make_checksum(algorithm.lower())
    checksum.update(body)
    value, field = base64.b64encode(checksum.digest()).decode(), f"Checksum{algorithm}"
    answer = s3.put_object(Bucket=bucket, Key="k", Body=body, **{field: value})
    assert answer[field] == value
    found = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (found[field], found["Body"].read()) == (value, body)
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")[field] == value
    assert field not in s3.head_object(Bucket=bucket, Key="k")
    asked = s3.get_object_attributes(
        Bucket=bucket, Key="k", ObjectAttributes=["Checksum", "ETag", "ObjectSize"]
    )
    assert asked["Checksum"][field] == value
    assert asked["ObjectSize"] == 3000
    wrong = {field: base64.b64encode(bytes(len(checksum.digest()))).decode()}
    put = lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"other", **wrong)  # noqa: E731
    refused(put, "BadDigest", 400)
    assert content(s3, bucket, "k") == body


def test_wrong_md5(s3: Any, bucket: str) -> None:
    put = lambda md5: s3.put_object(  # noqa: E731
        Bucket=bucket, Key="k", Body=b"1", ContentMD5=md5
    )
    refused(lambda: put("AAAAAAAAAAAAAAAAAAAAAA=="), "BadDigest", 400)
    refused(lambda: put("not a digest"), "InvalidDigest", 400)
    refused(lambda: s3.head_object(Bucket=bucket, Key="k"), "404")


# -- listings ---------------------------------------------------------------------------------


def test_listing_with_delimiter_and_pages(s3: Any, bucket: str) -> None:
    keys = ["a.txt", "b/1", "b/2", "b/c/3", "b0", "c/1", "d", "ä/1"]
    for key in keys:
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
    for call in ("list_objects", "list_objects_v2"):
        for size in (1, 2, 3, 100):
            pages = list(
                s3.get_paginator(call).paginate(
                    Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": size}
                )
            )
            objects = [o["Key"] for page in pages for o in page.get("Contents", ())]
            groups = [p["Prefix"] for page in pages for p in page.get("CommonPrefixes", ())]
            assert objects == ["a.txt", "b0", "d"]
            assert groups == ["b/", "c/", "ä/"]
            assert len(pages) == -(-6 // size)
    inside = s3.list_objects_v2(Bucket=bucket, Prefix="b/", Delimiter="/")
    assert [o["Key"] for o in inside["Contents"]] == ["b/1", "b/2"]
    assert inside["CommonPrefixes"] == [{"Prefix": "b/c/"}]
    assert inside["KeyCount"] == 3
    later = s3.list_objects_v2(Bucket=bucket, StartAfter="b/c/3", FetchOwner=True)
    assert [o["Key"] for o in later["Contents"]] == ["b0", "c/1", "d", "ä/1"]
    assert later["Contents"][0]["Owner"]["DisplayName"] == "houndsight"
    assert s3.list_objects_v2(Bucket=bucket, MaxKeys=0)["KeyCount"] == 0
    versions = s3.list_object_versions(Bucket=bucket, Prefix="c")["Versions"]
    assert [(v["Key"], v["VersionId"]) for v in versions] == [("c/1", "null")]


def test_listing_arguments(s3: Any, bucket: str) -> None:
    refused(
        lambda: s3.list_objects_v2(Bucket=bucket, ContinuationToken="nonsense"), "InvalidArgument"
    )
    refused(lambda: s3.list_objects_v2(Bucket=bucket, MaxKeys=-1), "InvalidArgument", 400)
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket, Prefix="none")


# -- multipart --------------------------------------------------------------------------------


def test_transfer_manager(s3: Any, bucket: str) -> None:
    body = random.Random(2).randbytes(12 * MIB + 1)
    cut = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
    extra = {"Metadata": {"a": "b"}, "ContentType": "image/png"}
    s3.upload_fileobj(io.BytesIO(body), bucket, "big", Config=cut, ExtraArgs=extra)
    parts = [body[at : at + 5 * MIB] for at in range(0, len(body), 5 * MIB)]
    joined = b"".join(hashlib.md5(part).digest() for part in parts)
    etag = f'"{hashlib.md5(joined).hexdigest()}-3"'
    head = s3.head_object(Bucket=bucket, Key="big", ChecksumMode="ENABLED")
    assert (head["ETag"], head["ContentLength"]) == (etag, len(body))
    assert (head["Metadata"], head["ContentType"]) == ({"a": "b"}, "image/png")
    assert head["ChecksumType"] == "COMPOSITE"
    assert head["ChecksumCRC32"].endswith("-3")
    second = s3.get_object(Bucket=bucket, Key="big", PartNumber=2)
    assert (second["Body"].read(), second["PartsCount"]) == (parts[1], 3)
    s3.copy({"Bucket": bucket, "Key": "big"}, bucket, "copy", Config=cut)
    assert s3.head_object(Bucket=bucket, Key="copy")["Metadata"] == {"a": "b"}
    into = io.BytesIO()
    s3.download_fileobj(bucket, "copy", into, Config=cut)
    assert into.getvalue() == body
    whole = s3.copy_object(Bucket=bucket, Key="whole", CopySource={"Bucket": bucket, "Key": "big"})
    assert whole["CopyObjectResult"]["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'


def test_multipart_by_hand(s3_server: S3Server, s3: Any, bucket: str) -> None:
    name = {"Bucket": bucket, "Key": "a/ä b"}
    upload = {**name, "UploadId": s3.create_multipart_upload(**name)["UploadId"]}
    first, last = b"1" * (5 * MIB), b"2" * 10
    tags = {3: s3.upload_part(**upload, PartNumber=3, Body=last)["ETag"]}
    s3.upload_part(**upload, PartNumber=1, Body=b"wrong at first")
    tags[1] = s3.upload_part(**upload, PartNumber=1, Body=first)["ETag"]
    listed = s3.list_parts(**upload)["Parts"]
    assert [(p["PartNumber"], p["Size"], p["ETag"]) for p in listed] == [
        (1, len(first), tags[1]),
        (3, len(last), tags[3]),
    ]
    page = s3.list_parts(**upload, MaxParts=1)
    assert (page["IsTruncated"], page["NextPartNumberMarker"]) == (True, 1)
    uploads = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert [(u["Key"], u["UploadId"]) for u in uploads] == [(name["Key"], upload["UploadId"])]
    parts = [{"PartNumber": n, "ETag": tags[n]} for n in (1, 3)]
    complete = lambda parts: s3.complete_multipart_upload(  # noqa: E731
        **upload, MultipartUpload={"Parts": parts}
    )
    refused(lambda: complete(parts[::-1]), "InvalidPartOrder", 400)
    refused(lambda: complete([{"PartNumber": 2, "ETag": tags[1]}]), "InvalidPart", 400)
    refused(lambda: complete([{**parts[0], "ETag": tags[3]}]), "InvalidPart", 400)
    refused(lambda: s3.head_object(**name), "404")
    answer = complete(parts)
    assert complete(parts)["ETag"] == answer["ETag"]  # the answer was lost: asked again
    assert content(s3, bucket=bucket, key=name["Key"]) == first + last
    refused(lambda: s3.list_parts(**upload), "NoSuchUpload", 404)
    refused(lambda: s3.upload_part(**upload, PartNumber=1, Body=b""), "NoSuchUpload", 404)


def test_too_small_a_part(s3: Any, bucket: str) -> None:
    name = {"Bucket": bucket, "Key": "k"}
    upload = {**name, "UploadId": s3.create_multipart_upload(**name)["UploadId"]}
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**upload, PartNumber=n, Body=b"x")["ETag"]}
        for n in (1, 2)
    ]
    refused(
        lambda: s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}),
        "EntityTooSmall",
        400,
    )
    s3.abort_multipart_upload(**upload)
    refused(lambda: s3.abort_multipart_upload(**upload), "NoSuchUpload", 404)
    for bad in (0, 10_001):
        refused(
            lambda bad=bad: s3.upload_part(**upload, PartNumber=bad, Body=b""), "NoSuchUpload", 404
        )


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_checksum_of_a_whole_upload(s3: Any, bucket: str, algorithm: str) -> None:
    name = {"Bucket": bucket, "Key": "k"}
    begun = s3.create_multipart_upload(
        **name, ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT"
    )
    upload = {**name, "UploadId": begun["UploadId"]}
    bodies = [random.Random(3).randbytes(5 * MIB), b"the rest"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**upload, PartNumber=n, Body=body)["ETag"]}
        if algorithm == "CRC32"
        else {"PartNumber": n, **_copied_part(s3, upload, n, body)}
        for n, body in enumerate(bodies, 1)
    ]
    answer = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    checksum = make_checksum(algorithm.lower())
    checksum.update(b"".join(bodies))
    assert answer[f"Checksum{algorithm}"] == base64.b64encode(checksum.digest()).decode()
    assert answer["ChecksumType"] == "FULL_OBJECT"


def _copied_part(s3: Any, upload: dict[str, str], number: int, body: bytes) -> dict[str, str]:
    """boto3 cannot compute CRC-32C without an extra library; the store can."""
    source = {"Bucket": upload["Bucket"], "Key": f"source-{number}"}
    s3.put_object(**source, Body=b"-" + body)
    answer = s3.upload_part_copy(
        **upload,
        PartNumber=number,
        CopySource=source,
        CopySourceRange=f"bytes=1-{len(body)}",
    )
    return {"ETag": answer["CopyPartResult"]["ETag"]}


# -- identity ---------------------------------------------------------------------------------


def test_wrong_keys(s3_server: S3Server, bucket: str) -> None:
    thief = s3_server.client(secret="x" * 40)
    refused(lambda: thief.list_buckets(), "SignatureDoesNotMatch", 403)
    refused(lambda: thief.put_object(Bucket=bucket, Key="k", Body=b"1"), "SignatureDoesNotMatch")
    error = refused(lambda: thief.head_bucket(Bucket=bucket), "403", 403)
    assert error.response["Error"]["Message"] == "Forbidden"
    connection = http.client.HTTPConnection("127.0.0.1", s3_server.port)
    connection.request("GET", f"/{bucket}")
    answer = connection.getresponse()
    assert (answer.status, b"<Code>AccessDenied</Code>" in answer.read()) == (403, True)
    connection.close()


@pytest.mark.parametrize("signed", [{}, {"signature_version": "s3v4"}], ids=["default", "v4"])
def test_presigned_urls(s3_server: S3Server, bucket: str, signed: dict[str, str]) -> None:
    client = s3_server.client(**signed)
    name = {"Bucket": bucket, "Key": "a b/ä+c"}
    put = client.generate_presigned_url("put_object", Params=name)
    assert _fetch(put, "PUT", b"presigned")[0] == 200
    assert _fetch(client.generate_presigned_url("get_object", Params=name))[1] == b"presigned"
    shown = {**name, "ResponseContentDisposition": "attachment"}
    assert _fetch(client.generate_presigned_url("get_object", Params=shown))[0] == 200
    get = client.generate_presigned_url("get_object", Params=name)
    assert _fetch(get.replace("a%20b", "a%20c"))[0] == 403
    assert _fetch(get, "DELETE")[0] == 403
    old = client.generate_presigned_url("get_object", Params=name, ExpiresIn=-60)
    assert _fetch(old)[0] in (400, 403)


def _fetch(url: str, method: str = "GET", body: bytes | None = None) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_expected_owner_everywhere(s3: Any, bucket: str) -> None:
    other = {"Bucket": bucket, "ExpectedBucketOwner": "1" * 12}
    refused(lambda: s3.list_objects_v2(**other), "AccessDenied", 403)
    refused(lambda: s3.put_object(**other, Key="k", Body=b""), "AccessDenied", 403)
    s3.put_object(Bucket=bucket, Key="k", Body=b"", ExpectedBucketOwner="0" * 12)


def test_what_is_not_implemented_is_named(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    error = refused(
        lambda: s3.restore_object(Bucket=bucket, Key="k", RestoreRequest={"Days": 1}),
        "NotImplemented",
        501,
    )
    assert "RestoreObject" in str(error)
    enabled = {"Status": "Enabled"}
    error = refused(
        lambda: s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=enabled),
        "NotImplemented",
        501,
    )
    assert "PutBucketVersioning" in str(error)


def test_restart_keeps_everything(tmp_path: Any) -> None:
    with running(tmp_path) as server:
        client = server.client()
        client.create_bucket(Bucket="kept")
        client.put_object(Bucket="kept", Key="k", Body=b"body", Metadata={"a": "b"})
    with running(tmp_path) as server:
        found = server.client().get_object(Bucket="kept", Key="k")
        assert (found["Body"].read(), found["Metadata"]) == (b"body", {"a": "b"})
