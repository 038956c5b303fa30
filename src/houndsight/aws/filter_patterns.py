"""CloudWatch's filter patterns for unstructured logs: terms, phrases, `?optional`, `-excluded`.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

from __future__ import annotations

import re
from collections.abc import Callable

from houndsight.aws.service import AwsError

__all__ = ["read_pattern"]

_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)')


def read_pattern(pattern: str) -> Callable[[str], bool]:
    """Whether a message matches.

    Every plain term must be in it and no excluded one; of optional ones (where there is no plain
    one) at least one.

    Raises:
        AwsError: the pattern is of a kind that is not read here, or cannot be read.
    """
    pattern = pattern.strip()
    if pattern[:1] in ("{", "[", "%"):
        raise AwsError(
            "InvalidParameterException",
            f"Filter patterns for JSON, columns and regular expressions are not read here:"
            f' {pattern[:100]!r}. Use words, "phrases", ?optional and -excluded ones.',
        )
    terms: dict[str, list[str]] = {"": [], "?": [], "-": []}
    place = 0
    while place < len(pattern):
        matched = _TERM.match(pattern, place)
        if matched is None:
            raise AwsError("InvalidParameterException", f"Invalid filter pattern {pattern[:100]!r}")
        sign, phrase, word = matched.groups()
        terms[sign].append(word if phrase is None else re.sub(r"\\(.)", r"\1", phrase))
        place = matched.end()
        place += len(pattern[place:]) - len(pattern[place:].lstrip())

    def matches(message: str) -> bool:
        if any(term in message for term in terms["-"]):
            return False
        if terms[""]:
            return all(term in message for term in terms[""])
        return not terms["?"] or any(term in message for term in terms["?"])

    return matches
