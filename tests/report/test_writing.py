"""The report as JSON: the fixed outline, finite and deterministic."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from critaudit.errors import UsageError
from critaudit.measurement import Measurement
from critaudit.report import Layer, Report
from critaudit.report.writing import to_json
from tests.report.make import empty_report, hostile_report, small_report

REPORTS = {"small": small_report, "empty": empty_report, "hostile": hostile_report}


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(files("critaudit.report").joinpath("schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", REPORTS)
def test_given_any_report_when_written_then_it_follows_the_schema_in_ascii(
    name: str, tmp_path: Path, validator: jsonschema.Draft202012Validator
) -> None:
    path = REPORTS[name]().to_json(tmp_path / "report.json")

    data = path.read_bytes()
    assert data.isascii()
    validator.validate(json.loads(data, parse_constant=pytest.fail))


@pytest.mark.parametrize(
    ("section", "broken"),
    [
        ("schema", "critaudit.report/2"),
        ("layers", [{"name": "a"}]),
        ("findings", [{"id": "x", "severity": "fatal", "layer": None, "text": "", "evidence": [], "caveat": None}]),
        ("model", {"measurements": {"a.b": {"status": "measured", "value": None}}}),
        ("coverage", {"parameters": -1, "analysed": 0, "share": 0, "tensors": []}),
    ],
)
def test_given_a_document_that_breaks_the_outline_then_the_schema_refuses_it(
    section: str, broken: object, validator: jsonschema.Draft202012Validator
) -> None:
    document = small_report().to_dict() | {section: broken}

    with pytest.raises(jsonschema.ValidationError):
        validator.validate(document)


@pytest.mark.parametrize("name", REPORTS)
def test_given_a_written_report_when_read_and_written_again_then_nothing_changes(name: str, tmp_path: Path) -> None:
    report = REPORTS[name]()

    first = Report.load(report.to_json(tmp_path / "first.json"))
    second = Report.load(first.to_json(tmp_path / "second.json"))

    assert first.to_dict() == second.to_dict()
    if name != "hostile":  # hostile names are made printable when they are read
        assert first.to_dict() == report.to_dict()


def test_given_measurements_in_another_order_when_written_then_the_text_is_the_same() -> None:
    report = small_report()
    shuffled = replace(
        report,
        layer_records=tuple(
            replace(layer, measurements=dict(reversed(layer.measurements.items()))) for layer in report.layer_records
        ),
        model=dict(reversed(report.model.items())),
    )

    assert to_json(shuffled) == to_json(report)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, np.float32("nan"), (1.0, math.nan), None])
def test_given_a_value_that_is_no_number_when_written_then_it_is_undetermined_with_a_reason(value: object) -> None:
    broken = Measurement("measured", value, interval=(0.0, math.inf))  # type: ignore[arg-type]
    layer = Layer("a", "linear", (1, 1), {"x.y": broken})

    written = replace(empty_report(), layer_records=(layer,)).to_dict()["layers"][0]["measurements"]["x.y"]

    assert (written["status"], written["value"], written["interval"]) == ("undetermined", None, None)
    assert "gave" in written["reason"]


def test_given_numpy_scalars_and_arrays_when_written_then_they_are_plain() -> None:
    held = {
        "a.float32": Measurement("measured", np.float32(0.5)),  # type: ignore[arg-type]
        "a.int64": Measurement("measured", np.int64(7), n=np.int64(3)),  # type: ignore[arg-type]
        "a.bool": Measurement("measured", np.bool_(True)),  # type: ignore[arg-type]
        "a.array": Measurement("measured", np.arange(3.0)),  # type: ignore[arg-type]
    }
    report = replace(empty_report(), model=held)

    written = {name: item["value"] for name, item in json.loads(to_json(report))["model"]["measurements"].items()}

    assert written == {"a.float32": 0.5, "a.int64": 7, "a.bool": True, "a.array": [0.0, 1.0, 2.0]}


def test_given_settings_of_any_type_when_written_then_json_holds_them() -> None:
    report = small_report()
    settings = {"path": Path("a"), "set": {"b", "a"}, "nan": math.nan, "array": np.arange(2), "none": None, "t": (1, 2)}
    report = replace(report, provenance=replace(report.provenance, settings=settings))

    written = json.loads(to_json(report))["provenance"]["settings"]

    assert written == {"array": [0, 1], "nan": "nan", "none": None, "path": "a", "set": ["a", "b"], "t": [1, 2]}


@pytest.mark.parametrize("target", ["missing/report.json", "", "nul\0byte"])
def test_given_a_path_that_cannot_be_written_then_one_line_says_so(target: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="could not be written") as caught:
        small_report().to_json(str(tmp_path / target))

    assert "\n" not in str(caught.value)
