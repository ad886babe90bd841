"""What other libraries take along for nobody stays out, and can still be imported."""

from __future__ import annotations

import sys
from importlib import import_module

import pytest

from webapp.core.optional import left_out


def test_it_is_not_there_for_a_while() -> None:
    sys.modules.pop("colorsys", None)
    with left_out("colorsys"), pytest.raises(ImportError):
        import_module("colorsys")
    assert import_module("colorsys").rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_what_is_loaded_already_stays() -> None:
    import json

    with left_out("json"):
        import json as same
    assert same is json
    assert sys.modules["json"] is json
