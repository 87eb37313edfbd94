"""The table of classes obeys the scaling relation, agrees with independent derivations and cites its sources."""

from __future__ import annotations

import pytest

from critaudit.theory.avalanche_classes import (
    CLASSES,
    directed_percolation_expansion,
    interface_exponents,
    spreading_exponents,
)

BY_NAME = {row.name: row for row in CLASSES}


@pytest.mark.parametrize("row", CLASSES, ids=lambda row: row.name)
def test_given_a_class_when_its_exponents_are_related_then_the_crackling_relation_holds(row) -> None:
    # Rows that were measured in experiments are rounded to two digits.
    assert (row.alpha - 1) / (row.tau - 1) == pytest.approx(row.slope, rel=0.05)
    assert row.source
    assert 1 < row.tau <= 1.5
    assert 1 < row.alpha <= 2


def test_given_four_dimensions_or_mean_field_values_when_derived_then_branching_exponents_follow() -> None:
    assert spreading_exponents(1.0, 1.0, 0.5, 4) == pytest.approx((1.5, 2.0, 2.0))
    assert spreading_exponents(*directed_percolation_expansion(4), 4) == pytest.approx((1.5, 2.0, 2.0))
    # A sandpile or interface at its upper critical dimension: D = 4, z = 2.
    assert interface_exponents(4.0, 2.0) == pytest.approx((1.5, 2.0, 2.0))


def test_given_directed_percolation_when_compared_with_the_epsilon_expansion_then_three_dimensions_agree() -> None:
    simulated = BY_NAME["directed percolation 3+1"].exponents
    assert spreading_exponents(*directed_percolation_expansion(3), 3) == pytest.approx(simulated, abs=0.008)
    # And the trend is right at ε = 2, where the expansion is crude to six hundredths.
    assert spreading_exponents(*directed_percolation_expansion(2), 2) == pytest.approx(
        BY_NAME["directed percolation 2+1"].exponents, abs=0.065
    )


def test_given_published_avalanche_exponents_when_compared_then_the_derived_rows_are_they() -> None:
    # Muñoz et al. 1999, Table I, for directed percolation; Huynh et al. 2011 for Manna: measured, not derived.
    assert BY_NAME["directed percolation 1+1"].exponents == pytest.approx((1.108, 1.159, 1.473), abs=1e-3)
    assert BY_NAME["directed percolation 2+1"].exponents == pytest.approx((1.268, 1.451, 1.683), abs=2e-3)
    assert BY_NAME["Manna, two dimensions"].exponents[:2] == pytest.approx((1.273, 1.4896), abs=2e-3)
    zeta, z = 0.753, 1.56
    assert interface_exponents(2 + zeta, z) == pytest.approx(BY_NAME["short-range Barkhausen"].exponents, abs=0.02)


def test_given_the_table_when_a_row_is_a_null_then_only_the_random_walk() -> None:
    assert [row.name for row in CLASSES if row.null] == ["Brownian excursion (random walk)"]
