"""The gate through which every name from a file passes."""

import unicodedata
from collections import OrderedDict

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.text import kind_of, printable


def test_ordinary_names_are_left_alone() -> None:
    assert printable("layer1.0.conv1.weight") == "layer1.0.conv1.weight"
    assert printable("Größe.權重") == "Größe.權重"


def test_escapes_bidi_and_line_separators_become_visible() -> None:
    assert printable("a\x1b[31mb") == "a\\x1b[31mb"
    assert printable("a\u202eb") == "a\\u202eb"
    assert printable("a\nb\u2028c\x9bd") == "a\\nb\\u2028c\\x9bd"


def test_a_types_name_gets_the_article_that_one_says() -> None:
    values = (1, OrderedDict(), np.ones(2), {}, np.uint8(1), None)
    assert [kind_of(value) for value in values] == [
        "an int",
        "an OrderedDict",
        "an ndarray",
        "a dict",
        "a uint8",
        "a NoneType",
    ]


def test_long_names_stay_distinguishable() -> None:
    first, second = printable("x" * 10_000), printable("x" * 10_001)
    assert len(first) <= 200
    assert first != second


@given(st.text(max_size=3000))
@settings(deadline=None, max_examples=200, derandomize=True)
def test_nothing_invisible_comes_through(text: str) -> None:
    shown = printable(text)
    assert len(shown) <= 200
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} for c in shown)
