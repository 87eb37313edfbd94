"""Numbers as people read them."""

from __future__ import annotations

import doctest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.measurement import measured, undetermined
from critaudit.report import wording


def test_given_the_examples_in_the_docstrings_then_they_hold() -> None:
    assert doctest.testmod(wording).failed == 0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (-12.34, "−12.3"),
        (9.999, "10.0"),
        (999.9, "1\u202f000"),
        (99_999.0, "1.00·10⁵"),
        (0.000999999, "0.00100"),
        (0.0000123, "1.23·10⁻⁵"),
        (1234567, "1\u202f234\u202f567"),
        (10**30, "1.00·10³⁰"),
    ],
)
def test_given_a_number_then_it_has_three_significant_figures(value: float, shown: str) -> None:
    assert wording.number(value) == shown


@given(value=st.floats(-1e300, 1e300))
@settings(deadline=None, max_examples=300, derandomize=True)
def test_given_any_float_then_what_is_shown_is_within_half_a_unit_of_the_third_figure(value: float) -> None:
    back = _read(wording.number(value))

    assert back == pytest.approx(value, rel=5.001e-3, abs=5e-324)


@pytest.mark.parametrize(
    ("ends", "shown"),
    [
        ((1.0, 2.0), "1.00 – 2.00"),
        ((1.61903, 1.61914), "1.6190 – 1.6191"),
        ((0.5, 0.5), "0.500 – 0.500"),
        ((0.63899201, 0.63899202), "0.639 – 0.639"),
    ],
)
def test_given_a_narrow_interval_then_its_ends_are_told_apart(ends: tuple[float, float], shown: str) -> None:
    assert wording.interval(ends) == shown


@given(ends=st.tuples(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12)).map(sorted), part=st.floats(0.0, 1.0))
@settings(deadline=None, max_examples=300, derandomize=True)
def test_given_any_value_inside_its_interval_when_shown_then_it_is_inside_what_is_shown(
    ends: list[float], part: float
) -> None:
    low, high = ends
    value = min(max(low + part * (high - low), low), high)

    text = wording.with_interval(measured(value, interval=(low, high)))

    shown, below, above = (_read(one) for one in text.rstrip(")").replace(" (", " – ").split(" – "))
    assert below <= shown <= above


def test_given_a_narrow_interval_when_shown_then_the_value_has_its_figures_in_every_view() -> None:
    held = measured(0.99367, interval=(0.99351, 0.99379))

    assert wording.with_interval(held) == "0.9937 (0.9935 – 0.9938)"
    assert wording.value(held) == "0.9937"
    # A count whose interval is known to three figures is known no better.
    assert wording.with_interval(measured(1236, interval=(1236.0, 1249.0))) == "1\u202f240 (1\u202f240 – 1\u202f250)"
    assert wording.value(measured(1236)) == "1\u202f236"


def _read(shown: str) -> float:
    """The number that is shown."""
    plain = shown.replace("\u202f", "").replace("−", "-").replace("·10", "e")
    return float(plain.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")))


@pytest.mark.parametrize(
    ("part", "shown"), [(0.0, "0 %"), (1.0, "100 %"), (0.99999, "> 99.9 %"), (1e-9, "< 0.1 %"), (0.123, "12.3 %")]
)
def test_given_a_share_then_only_the_exact_ends_are_called_so(part: float, shown: str) -> None:
    assert wording.share(part) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [(784, "784"), (23_456, "23.5 thousand"), (11_700_000, "11.7 million"), (1_200_000_000, "1.2 billion")],
)
def test_given_a_number_of_parameters_then_it_is_in_words(number: int, shown: str) -> None:
    assert wording.amount(number) == shown


def test_given_measurements_of_every_type_then_their_values_are_in_words() -> None:
    held = [measured(True), measured("odd"), measured(("a", "b")), measured(tuple(map(float, range(9)))), measured(())]

    assert [wording.value(item) for item in held[:3]] == ["yes", "odd", "a, b"]
    assert wording.value(held[3]).endswith("… (9 values)")
    assert wording.value(held[4]) == "none"
    assert wording.value(undetermined("why")) == "undetermined"
    assert wording.with_interval(measured(1.0, interval=(0.5, 1.5))) == "1.00 (0.500 – 1.50)"
