"""The report as pandas tables."""

from __future__ import annotations

import math

import pandas as pd

from tests.report.make import empty_report, small_report


def test_given_layers_then_there_is_one_row_each_with_a_column_per_measurement() -> None:
    frame = small_report(12).layers

    assert list(frame.columns[:4]) == ["name", "kind", "shape", "entries.alpha"]
    assert frame.shape == (12, 3 + 20)
    assert frame.loc[0, "shape"] == (64, 32, 3, 3)
    assert frame["entries.alpha"].dtype == "float64"
    assert frame.loc[0, "novel.verdict"] == "Gaussian not rejected"


def test_given_what_was_not_measured_then_the_cell_is_missing_and_the_reason_is_kept() -> None:
    frame = small_report(12).layers

    assert math.isnan(frame.loc[3, "entries.alpha"])
    assert frame["entries.alpha"].count() == 11
    assert frame.attrs["not_measured"]["entries.alpha"] == {3: "undetermined: only 40 entries, at least 100 are needed"}
    assert pd.concat([frame, frame]).shape[0] == 24


def test_given_the_long_table_then_every_measurement_has_a_row_with_all_its_parts() -> None:
    report = small_report(12)
    frame = report.measurements

    assert len(frame) == sum(len(layer.measurements) for layer in report.layer_records) + len(report.model)
    alpha = frame[(frame["measurement"] == "entries.alpha") & (frame["status"] == "measured")]
    assert (alpha["low"] < alpha["value"].astype(float)).all()
    assert (alpha["value"].astype(float) < alpha["high"]).all()
    assert frame["layer"].isna().sum() == len(report.model)


def test_given_no_layers_then_the_tables_are_empty_but_have_their_columns() -> None:
    report = empty_report()

    assert list(report.layers.columns) == ["name", "kind", "shape"]
    assert report.measurements.empty
    assert "reason" in report.measurements.columns
