"""The object store under the S3 API, for the control plane and for supervisors alike."""

from houndsight.jobs.objects.errors import ObjectError
from houndsight.jobs.objects.names import split_uri
from houndsight.jobs.objects.records import (
    BucketInfo,
    Condition,
    Listing,
    ObjectInfo,
    PartInfo,
    Properties,
    UploadInfo,
)
from houndsight.jobs.objects.store import ObjectStore
from houndsight.jobs.objects.uploads import GivenPart, Uploads

__all__ = [
    "BucketInfo",
    "Condition",
    "GivenPart",
    "Listing",
    "ObjectError",
    "ObjectInfo",
    "ObjectStore",
    "PartInfo",
    "Properties",
    "UploadInfo",
    "Uploads",
    "split_uri",
]
