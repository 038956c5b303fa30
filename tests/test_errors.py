"""Errors of extras that are not installed."""

from __future__ import annotations

import json

import pytest

from houndsight.errors import MissingExtraError, require_extra


def test_a_missing_extra_prints_the_pip_line() -> None:
    with pytest.raises(MissingExtraError) as caught:
        require_extra("no_such_module_at_all", what="Drawing", extra="onnx")
    assert str(caught.value) == "Drawing needs an extra: pip install 'houndsight[onnx]'"


def test_an_installed_module_is_returned() -> None:
    assert require_extra("json", what="Reading", extra="onnx") is json
