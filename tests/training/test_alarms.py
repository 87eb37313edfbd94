"""Warnings: what raises each, that it is said once, and again only after it was clearly over."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.report.wording import number
from critaudit.theory import gaussian, spin_glass
from critaudit.training.alarms import Alarms, Limits, notices
from critaudit.training.followed import Followed
from critaudit.training.records import LayerNow, Notice, Record

TANH = Followed("a", "linear", (8, 8), 8, 1, 8, 8, "tanh", "a", "a")
RELU = Followed("b", "linear", (8, 16), 16, 1, 8, 16, "relu", "b", "b")
NORMALISED = Followed("c", "linear", (8, 8), 8, 1, 8, 8, "tanh", "c", "c", normalised=True)


def course(rows: Sequence[dict[str, object]], layer: Followed = TANH, **record: Sequence[object]) -> tuple[Notice, ...]:
    """The notices of a training of one layer: a record per row, with fields of the record beside."""
    records = [
        Record(
            step,
            0.0,
            (LayerNow(**{"j0": 0.0, "j_squared": 0.25, **row}),),  # type: ignore[arg-type]
            (),
            **{name: values[step] for name, values in record.items()},  # type: ignore[arg-type]
        )
        for step, row in enumerate(rows)
    ]
    return notices(records, [layer])


def test_an_edge_is_crossed_once_in_each_direction():
    js = [0.9, 0.97, 1.005, 1.02, 1.004, 0.995, 1.02, 1.3, 0.95, 1.2]
    found = course([{"j_squared": j**2} for j in js])
    assert [(one.step, one.severity) for one in found] == [(3, "warning"), (8, "info"), (9, "warning")]
    assert "Step 3" in found[0].text
    assert found[0].layer == "a"
    assert found[0].value == pytest.approx(1.02)
    assert "its edge is at J = 1.00" in found[0].text


@pytest.mark.parametrize("sigma_b", [0.02, 0.05, 0.2])
def test_a_bias_keeps_a_layer_in_order_beyond_j_1_and_its_edge_is_where_chi1_is_1(sigma_b: float):
    edge = gaussian.edge_of_chaos(sigma_b)
    js = [0.9, 1.05 if edge > 1.05 else 1.005, 0.999 * edge, 1.02 * edge]
    rows = [{"j_squared": j**2, "sigma_b": sigma_b, "chi1": gaussian.chi1(j, sigma_b)} for j in js]
    found = course(rows)
    assert [(one.step, one.severity) for one in found] == [(3, "warning")]
    assert rows[2]["chi1"] < 1 < rows[3]["chi1"]
    assert f"J = {number(js[3])}, its edge is at J = {number(edge)}" in found[0].text


def test_a_mean_of_the_weights_moves_the_edge_too():
    edge = spin_glass.boundary(2.0, 0.1)
    rows = [{"j0": -2.0, "j_squared": (factor * edge) ** 2, "sigma_b": 0.1} for factor in (0.98, 1.02)]
    assert [one.step for one in course(rows)] == [1]


def test_the_edge_of_other_layers_is_chi1_and_a_normalised_layer_has_none():
    rows = [{"j_squared": chi * 2, "chi1": chi} for chi in (0.9, 1.1)]
    assert [one.rule for one in course(rows, RELU)] == ["training.edge"]
    assert "χ₁ = 1.10; 1 is the edge" in course(rows, RELU)[0].text
    assert course([{"j_squared": 0.5}, {"j_squared": 2.0}], NORMALISED) == ()


def test_a_layer_that_begins_beyond_its_edge_did_not_cross_it():
    assert course([{"j_squared": 4.0}] * 4) == ()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.5, 2.0), min_size=2, max_size=40))
def test_crossings_alternate_and_never_come_from_within_the_band(js: list[float]):
    found = course([{"j_squared": j**2} for j in js])
    ways = [one.severity for one in found]
    assert all(first != second for first, second in itertools.pairwise(ways))
    for one in found:
        assert abs(math.log(js[one.step])) >= 0.01 - 1e-9


@pytest.mark.parametrize(("name", "sign", "verb"), [("signal", -1, "vanishes"), ("gradient", 1, "explodes")])
def test_growth_over_the_depth_beyond_the_factor(name: str, sign: int, verb: str):
    exponents = [0.1, 0.5, 0.9, 0.5, 0.5, 0.3, 0.9]  # eleven layers, ten steps between them: ln 1000 is 6.9
    growth = [{name: (sign * exponent, 0.01, 11)} for exponent in exponents]
    found = course([{}] * 7, growth=growth)
    assert [(one.step, one.rule) for one in found] == [(2, f"training.{name}_{verb}"), (6, f"training.{name}_{verb}")]
    assert "by a factor of 8100" in found[0].text.replace("\u202f", "")  # e⁹
    assert "11 layers" in found[0].text
    assert found[0].value == pytest.approx(math.exp(sign * 0.9))


def test_a_tail_changes_when_its_interval_leaves_the_earlier_one_and_by_enough():
    alphas = [(2.0, 1.99, 2.0), (1.95, 1.94, 1.96), (1.85, 1.84, 1.86), None, (1.84, 1.83, 1.85), (1.99, 1.98, 2.0)]
    found = course([{"alpha": alpha} for alpha in alphas])
    assert [one.step for one in found] == [2, 5]
    assert "heavier" in found[0].text
    assert "lighter" in found[1].text
    wide = [(2.0, 1.6, 2.0), (1.7, 1.5, 1.9)]
    assert course([{"alpha": alpha} for alpha in wide]) == ()


def test_what_is_not_finite_is_said_once_per_kind_and_again_after_it_was_well():
    broken = [(), (("weights", 0),), (("weights", 0), ("signal", 0)), (), (("weights", 0),)]
    found = course([{}] * 5, non_finite=broken)
    assert [(one.step, one.severity) for one in found] == [(1, "problem"), (2, "problem"), (4, "problem")]
    loss = course([{}] * 4, non_finite=[(), (("loss", -1),), (), (("loss", -1),)], loss=[1.0, None, None, None])
    assert [one.step for one in loss] == [1]  # a step without a loss does not end it


def test_dead_units_starved_and_constant_layers():
    found = course([{"dead": share} for share in (0.1, 0.6, 0.7, 0.45, 0.6, 0.3, 0.9)], RELU)
    assert [one.step for one in found] == [1, 6]
    assert "60%" in found[0].text
    two = (
        LayerNow(j0=0.0, j_squared=0.1, gradient=0.0),
        LayerNow(j0=0.0, j_squared=0.1, gradient=1.0),
    )
    records = [Record(step, 0.0, two, ()) for step in range(4)]
    assert [(one.rule, one.step) for one in notices(records, [TANH, RELU])] == [("training.no_gradient", 1)]
    assert [one.rule for one in course([{"j_squared": 0.0}] * 3)] == ["training.constant"]


def test_limits_are_the_users():
    rows = [Record(step, 0.0, (LayerNow(j0=0.0, j_squared=j**2),), ()) for step, j in enumerate((0.99, 1.05))]
    assert notices(rows, [TANH], Limits(edge=0.1)) == ()
    assert len(notices(rows, [TANH], Limits(edge=0.005))) == 1


def test_record_by_record_is_the_same_as_all_at_once():
    records = [Record(step, 0.0, (LayerNow(j0=0.0, j_squared=1.0 + math.sin(step)),), ()) for step in range(30)]
    alarms = Alarms([TANH])
    assert tuple(one for record in records for one in alarms.look(record)) == notices(records, [TANH])
