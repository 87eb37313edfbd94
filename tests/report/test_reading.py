"""Reading reports back: old and newer files stay readable, wrong and hostile ones end in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critaudit.errors import CritauditError
from critaudit.report import SCHEMA, Report, wording
from tests.report.make import small_report

MINIMAL: dict[str, Any] = {"schema": SCHEMA, "source": {"name": "a.pt"}}


def test_given_an_old_file_without_optional_sections_then_it_is_read_with_defaults() -> None:
    report = Report.from_dict(MINIMAL | {"layers": [{"name": "fc", "shape": [2, 3]}]})

    assert report.layer_records[0].kind == "other"
    assert report.source.format == "unknown"
    assert (report.findings, report.advice, report.coverage.tensors) == ((), (), ())


def test_given_whole_numbers_in_a_list_then_they_are_whole_after_reading() -> None:
    classes = {"signal.top_classes": {"status": "measured", "value": [7, 0.5]}}

    report = Report.from_dict(MINIMAL | {"model": {"measurements": classes}})

    assert wording.value(report.model["signal.top_classes"]) == "7, 0.500"


def test_given_a_newer_file_with_unknown_fields_everywhere_then_they_are_ignored() -> None:
    document = json.loads(json.dumps(small_report().to_dict()))

    def extend(value: Any) -> Any:
        if isinstance(value, list):
            return [extend(item) for item in value]
        return {key: extend(item) for key, item in value.items()} if isinstance(value, dict) else value

    extended = extend(document) | {"novelty": {"x": 1}}
    for record in (*extended["layers"], *extended["findings"], extended["source"], extended["coverage"]):
        record["novelty"] = [1, 2]

    assert Report.from_dict(extended).to_dict() == document


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"schema": "critaudit.report/2"}, "another version of critaudit"),
        ({"schema": "lighthouse"}, "expected critaudit.report/1"),
        ({"schema": None}, "schema is missing"),
        ({"schema": {}}, "schema is an object of 0"),
        ({"source": None}, "source is missing"),
        ({"source": {"name": 5}}, "source.name is 5, expected a string"),
        ({"layers": {}}, "layers is an object of 0, expected a list"),
        ({"layers": [3]}, r"layers\[0\] is 3, expected an object"),
        ({"layers": [{"name": "a", "shape": [1.5]}]}, r"layers\[0\].shape\[0\] is 1.5"),
        ({"layers": [{"name": "a", "shape": [True]}]}, r"expected a non-negative integer"),
        ({"layers": [{"name": "a", "shape": [10**400]}]}, r"a number of 1329 bits"),
        ({"layers": [{"name": "a", "shape": [], "measurements": {"b": {"status": "ok"}}}]}, "expected one of measured"),
        ({"model": {"measurements": {"b": {"status": "measured"}}}}, "expected a finite number"),
        ({"model": {"measurements": {"b": {"status": "measured", "value": {}}}}}, "expected a finite number"),
        ({"model": {"measurements": {"b": {"status": "measured", "value": 1, "interval": [1]}}}}, "list of two"),
        ({"model": {"measurements": {"b": {"status": "measured", "value": [1, "a"]}}}}, "expected a finite number"),
        ({"coverage": {"parameters": 1, "analysed": 2}}, "at most the 1 parameters"),
        ({"findings": [{"id": "a", "severity": "fatal", "text": ""}]}, "expected one of info, warning, problem"),
        ({"advice": [{"kind": "a", "setting": "b", "value": None}]}, "value is missing"),
        ({"provenance": {"versions": {"a": 1}}}, "versions.a is 1"),
        ({"provenance": {"settings": {"a": [float("inf")]}}}, "expected a finite number"),
    ],
)
def test_given_a_document_with_a_wrong_type_then_one_line_says_where_and_what(
    change: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(CritauditError, match=complaint) as caught:
        Report.from_dict(MINIMAL | change)

    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("document", [None, 3, "text", [], [MINIMAL], True, 1.5])
def test_given_a_document_that_is_no_object_then_one_line_says_so(document: object) -> None:
    with pytest.raises(CritauditError, match="expected an object"):
        Report.from_dict(document)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"schema": NaN}', "holds NaN"),
        (json.dumps(MINIMAL).encode()[:-1] + b', "provenance": {"seconds": 1e999}}', "finite number"),
        (b'{"a": 1}\n{"b": 2}\n', "neither a report that critaudit wrote nor a Monitor's log"),
        (b'{"kind":"start","schema":"critaudit.training/1"}\n{"kind":"end"}\n', "the log of a training"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"a":' * 100_000, "not valid JSON"),
        (b"1" * 5000, "not valid JSON"),
        (b"\xff\xfe\x00", "not a text file in UTF-8"),
        (b"PK\x03\x04\x80", "not a text file in UTF-8"),
    ],
    ids=[
        "empty",
        "cut",
        "nan",
        "infinite",
        "lines",
        "log",
        "deep lists",
        "deep objects",
        "long number",
        "utf-16",
        "zip",
    ],
)
def test_given_a_file_that_is_no_report_then_one_line_says_so(content: bytes, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)

    with pytest.raises(CritauditError, match=complaint) as caught:
        Report.load(path)

    assert "\n" not in str(caught.value)


def test_given_a_path_that_is_no_regular_file_then_it_is_not_opened(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    for path, complaint in ((fifo, "not a regular file"), (tmp_path, "not a regular file"), (tmp_path / "no", "read")):
        with pytest.raises(CritauditError, match=complaint):
            Report.load(path)
    with pytest.raises(CritauditError):
        Report.load("nul\0byte")


def test_given_a_file_over_the_limit_then_it_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(1 << 29)  # sparse

    with pytest.raises(CritauditError, match="at most"):
        Report.load(path)


def test_given_names_with_escape_sequences_then_they_are_printable_after_reading() -> None:
    report = Report.from_dict(MINIMAL | {"layers": [{"name": "\x1b[31m\u202e", "shape": []}]})

    assert report.layer_records[0].name == "\\x1b[31m\\u202e"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def _paths(value: Any, prefix: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [prefix, *(path for key, item in members for path in _paths(item, (*prefix, key)))]


_DOCUMENT = json.dumps(small_report(2).to_dict())
_PATHS = [path for path in _paths(json.loads(_DOCUMENT)) if path]


@given(path=st.sampled_from(_PATHS), value=_JSON)
@settings(deadline=None, max_examples=300, derandomize=True)
def test_given_any_value_anywhere_then_it_is_a_report_or_one_line(path: tuple[str | int, ...], value: object) -> None:
    document = json.loads(_DOCUMENT)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value

    complaint = ""
    try:
        report = Report.from_dict(document)
    except CritauditError as error:
        complaint = str(error)
    else:
        json.dumps(report.to_dict(), allow_nan=False)
    assert "\n" not in complaint
