"""No number is made up: what is not finite is no measurement."""

import math

import pytest

from critaudit.measurement import failed, measured, not_applicable, undetermined


def test_a_number_keeps_its_interval_size_and_method() -> None:
    found = measured(1.5, interval=(1.4, 1.6), n=10, method="mean")
    assert (found.status, found.value, found.interval, found.n, found.method) == (
        "measured", 1.5, (1.4, 1.6), 10, "mean"
    )  # fmt: skip
    assert found.number == 1.5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, (1.0, math.nan)])
def test_non_finite_values_become_undetermined(value: float) -> None:
    found = measured(value)
    assert found.status == "undetermined"
    assert found.value is None
    assert found.reason


def test_a_non_finite_interval_is_dropped() -> None:
    assert measured(1.0, interval=(0.0, math.inf)).interval is None


@pytest.mark.parametrize("make", [not_applicable, undetermined, failed])
def test_absent_values_say_why_and_are_no_number(make) -> None:  # type: ignore[no-untyped-def]
    found = make("because")
    assert found.value is None
    assert found.number is None
    assert found.reason == "because"
