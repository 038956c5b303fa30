"""How requests and answers of AWS's protocols look on the wire, driven by botocore's models."""

from houndsight.aws.protocol.base import Incoming, Outgoing, Protocol
from houndsight.aws.protocol.json import JsonProtocol
from houndsight.aws.protocol.query import QueryProtocol
from houndsight.aws.protocol.rest_json import RestJsonProtocol

__all__ = [
    "Incoming",
    "JsonProtocol",
    "Outgoing",
    "Protocol",
    "QueryProtocol",
    "RestJsonProtocol",
]
