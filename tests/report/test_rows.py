"""Table rows: what several of them say in the same words is said once, and nothing gets lost."""

from __future__ import annotations

import re

from critaudit.measurement import measured, not_applicable
from critaudit.report import rows

INPUTS = "calibrated Gaussian inputs 196: standard normal per value"
MISSING = "no convolution over several pixels: the matrix is the layer"


def test_given_a_clause_of_three_methods_then_it_is_a_note_and_the_rows_refer_to_it() -> None:
    found = {
        "jacobian.lyapunov": measured(0.4, method=f"mean ln growth; {INPUTS}"),
        "jacobian.end_to_end": measured(3.4, method=f"from end to end; {INPUTS}"),
        "jacobian.gradient_ratio": measured(2.8, method=INPUTS),
        "signal.output_strength": measured(3.0, method=f"root mean square; {INPUTS}"),
    }

    signal, jacobian = rows.groups(found)

    assert jacobian.notes == (INPUTS,)
    assert {row.identifier: row.method for row in jacobian.rows} == {
        "jacobian.lyapunov": "mean ln growth [1]",
        "jacobian.end_to_end": "from end to end [1]",
        "jacobian.gradient_ratio": "[1]",
    }
    assert (signal.notes, signal.rows[0].method) == ((), f"root mean square; {INPUTS}")


def test_given_a_shared_reason_then_it_is_a_note_and_short_ones_stay_where_they_are() -> None:
    found = {f"spectrum.operator_q{share}": not_applicable(MISSING) for share in ("05", "25", "50")} | {
        f"spectrum.{name}": measured(1.0, method="sample moment") for name in ("norm", "rank", "entropy")
    }

    (group,) = rows.groups(found)

    assert group.notes == (MISSING,)
    assert sorted((row.method, row.reason) for row in group.rows) == [("", "[1]")] * 3 + [("sample moment", "")] * 3


def test_given_a_long_clause_of_two_methods_then_it_is_a_note_and_a_shorter_one_is_not() -> None:
    long, short = f"{INPUTS}, the variance that inputs have after normalisation", INPUTS
    found = {f"signal.made_{place}": measured(1.0, method=f"{long}; {short}") for place in range(2)}

    (group,) = rows.groups(found)

    assert group.notes == (long,)
    assert {row.method for row in group.rows} == {f"{short} [1]"}


def test_given_rows_with_marks_then_notes_in_their_place_give_every_clause_back() -> None:
    first, second = INPUTS, "norms by Hutchinson's estimator, 4 random vectors per input"
    methods = [f"own {place}; {second}; {first}" for place in range(4)] + [f"alone; {second}", second]
    found = {f"jacobian.made_{place}": measured(1.0, method=text) for place, text in enumerate(methods)}

    (group,) = rows.groups(found)

    for row in group.rows:
        said = set(re.sub(r" ?\[\d+\]", "", row.method).split("; ")) - {""}
        said |= {group.notes[int(mark) - 1] for mark in re.findall(r"\[(\d+)\]", row.method)}
        assert said == set((row.measurement.method or "").split("; "))
