"""The little XML that S3 speaks: written from text, read without entities and bounded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat
from xml.sax.saxutils import escape

from houndsight.aws.service import AwsError

__all__ = ["NAMESPACE", "Markup", "Node", "document", "element", "parse"]

NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
MAX_DEPTH = 16
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ufffe\uffff]")


class Markup(str):
    """Text that is XML already."""


@dataclass
class Node:
    """An element that was read; its name without namespace."""

    name: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def all(self, name: str) -> list[Node]:
        """The children of a name."""
        return [child for child in self.children if child.name == name]

    def get(self, name: str, default: str = "") -> str:
        """The text of the first child of a name."""
        found = self.all(name)
        return found[0].text if found else default


def element(name: str, *content: str, namespace: str = "", attributes: str = "") -> Markup:
    """An element around text, which is escaped, and around other elements."""
    inner = "".join(c if isinstance(c, Markup) else _escaped(c) for c in content)
    opening = f'{name} xmlns="{namespace}"' if namespace else name
    return Markup(f"<{opening}{attributes}>{inner}</{name}>")


def document(root: Markup) -> bytes:
    """A whole document."""
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{root}'.encode()


def parse(body: bytes, root: str) -> Node:
    """The document in a request's body, whose root must be `root`.

    Raises:
        AwsError: MalformedXML: it is none, declares entities, is nested too deeply, or has
            another root.
    """
    reader = _Reader()
    try:
        reader.read(body)
    except (expat.ExpatError, _RefusedError, ValueError, LookupError) as error:
        raise _malformed() from error
    if reader.root is None or reader.root.name != root:
        raise _malformed()
    return reader.root


class _RefusedError(Exception):
    """Something that no S3 client sends."""


class _Reader:
    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Node] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text
        self._parser.StartDoctypeDeclHandler = self._refuse

    def read(self, body: bytes) -> None:
        self._parser.Parse(body, True)

    def _start(self, name: str, _: dict[str, str]) -> None:
        node = Node(name.rpartition(" ")[2])
        if len(self._open) >= MAX_DEPTH:
            raise _RefusedError
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
        self._open.append(node)

    def _end(self, _: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        self._open[-1].text += text

    def _refuse(self, *_: object) -> None:
        raise _RefusedError


def _escaped(text: str) -> str:
    """Text with markup escaped, and with what XML would not keep as references, like S3's."""
    return _UNSAFE.sub(lambda found: f"&#x{ord(found[0]):x};", escape(text, {'"': "&quot;"}))


def _malformed() -> AwsError:
    return AwsError(
        "MalformedXML",
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
