"""The names of measurements: known ones in the field's words, unknown ones under their own."""

from __future__ import annotations

from dataclasses import replace

from critaudit.measurement import measured
from critaudit.report import Layer, measures
from tests.report.make import empty_report, small_report


def test_given_an_unknown_measurement_then_it_is_called_by_its_own_name() -> None:
    assert measures.describe("jacobian.expanding_share").label == "expanding share"
    assert measures.describe("odd").label == "odd"
    assert measures.describe("").label == ""


def test_given_identifiers_then_known_analyzers_come_first_in_reading_order() -> None:
    shuffled = [
        "zeta.a",
        "signal.strength",
        "entries.sigma",
        "entries.alpha",
        "edge.j",
        "spectrum.rank",
        "entries.alpha",
    ]

    assert measures.ordered(shuffled) == [
        "entries.alpha",
        "entries.sigma",
        "spectrum.rank",
        "edge.j",
        "signal.strength",
        "zeta.a",
    ]


def test_given_reports_then_the_table_shows_key_measures_or_the_first_six() -> None:
    novel = Layer("a", "linear", (1,), {f"novel.{letter}": measured(1) for letter in "hgfedcba"})

    assert measures.key_measures(small_report())[:2] == ["entries.alpha", "entries.g_forward"]
    assert measures.key_measures(replace(empty_report(), layer_records=(novel,))) == [f"novel.{x}" for x in "abcdef"]
    assert measures.analyzers(small_report()) == ["entries", "spectrum", "edge", "signal", "avalanche", "novel"]
