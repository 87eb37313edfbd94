"""Reading a report back from JSON, whoever wrote it: tolerant of what is new, strict about what is wrong."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any, NoReturn, cast

from critaudit.errors import CritauditError
from critaudit.logs import is_log_text
from critaudit.measurement import Measurement, Status
from critaudit.report.node import Node
from critaudit.report.record import (
    SCHEMA,
    SEVERITIES,
    Advice,
    ArchitectureRecord,
    Coverage,
    Finding,
    Layer,
    Provenance,
    Report,
    Severity,
    SourceRecord,
    TensorRecord,
)

_LARGEST_FILE = 1 << 28  # 256 MB; a report on 10,000 layers has 50 MB
_STATUSES = ("measured", "not_applicable", "undetermined", "failed")


def load(path: str | Path) -> Report:
    """Read a report from a JSON file. Raises CritauditError with one line for whatever is not one."""
    source = Path(path)
    try:
        information = source.stat()
        if not stat.S_ISREG(information.st_mode):
            raise CritauditError(f"{source}: not a regular file, expected a JSON report that critaudit wrote")
        if information.st_size > _LARGEST_FILE:
            raise CritauditError(
                f"{source}: {information.st_size} bytes, expected a JSON report of at most {_LARGEST_FILE} bytes"
            )
        text = source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CritauditError(f"{source}: cannot be read ({error.strerror or error}); check the path") from error
    except ValueError as error:  # not UTF-8, or a NUL in the path
        raise CritauditError(
            f"{source}: not a text file in UTF-8, expected a JSON report that critaudit wrote"
        ) from error
    try:
        document = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise CritauditError(f"{source}: {_no_json(text, error)}") from error
    return from_dict(document, origin=str(source))


def from_dict(data: object, *, origin: str = "report") -> Report:
    """The report in a decoded JSON document. `origin` names it in errors. Raises CritauditError."""
    root = Node(data, "", origin)
    _check_schema(root)
    return Report(
        source=_source(root.get("source")),
        architecture=_architecture(_object(root.get("architecture"))),
        coverage=_coverage(_object(root.get("coverage"))),
        layer_records=tuple(_layer(node) for node in root.get("layers").elements()),
        model=_measurements(_object(root.get("model")).get("measurements")),
        findings=tuple(_finding(node) for node in root.get("findings").elements()),
        advice=tuple(_advice(node) for node in root.get("advice").elements()),
        provenance=_provenance(_object(root.get("provenance"))),
    )


def _no_json(text: str, error: Exception) -> str:
    """What the text is instead of one JSON document."""
    if not isinstance(error, json.JSONDecodeError) or error.msg != "Extra data":
        return f"not valid JSON ({error}); is the file complete?"
    if is_log_text(text):
        return "this is the log of a training and no report; critaudit render makes one of it"
    where = f"line {error.lineno} column {error.colno}"
    return f"neither a report that critaudit wrote nor a Monitor's log: more follows after a JSON document ({where})"


def _refuse_constant(constant: str) -> NoReturn:
    raise ValueError(f"it holds {constant}, which JSON does not know")


def _check_schema(root: Node) -> None:
    """Accept this version of the outline; name any other."""
    schema = root.get("schema")
    if schema.value == SCHEMA:
        return
    if isinstance(schema.value, str) and schema.value.startswith("critaudit."):
        schema.fail(f"{SCHEMA} (another version of critaudit may read it)")
    schema.fail(SCHEMA)


def _object(node: Node) -> Node:
    """The node, or an empty object in its place: an old file may lack a whole section."""
    return Node({}, node.path, node.origin) if node.value is None else node


def _source(node: Node) -> SourceRecord:
    return SourceRecord(
        name=node.get("name").text(),
        format=node.get("format").text("unknown"),
        sha256=node.get("sha256").optional_text(),
        bytes=node.get("bytes").optional_integer(),
    )


def _architecture(node: Node) -> ArchitectureRecord:
    return ArchitectureRecord(
        name=node.get("name").optional_text(),
        how=node.get("how").text("none"),
        detail=node.get("detail").text(""),
    )


def _coverage(node: Node) -> Coverage:
    coverage = Coverage(
        parameters=node.get("parameters").integer(0),
        analysed=node.get("analysed").integer(0),
        tensors=tuple(_tensor(element) for element in node.get("tensors").elements()),
        problems=tuple(element.text() for element in node.get("problems").elements()),
    )
    if coverage.analysed > coverage.parameters:
        node.get("analysed").fail(f"at most the {coverage.parameters} parameters of the model")
    return coverage


def _tensor(node: Node) -> TensorRecord:
    return TensorRecord(
        name=node.get("name").text(),
        shape=node.get("shape").shape(),
        dtype=node.get("dtype").text("unknown"),
        status=node.get("status").text(),
        reason=node.get("reason").optional_text(),
    )


def _layer(node: Node) -> Layer:
    return Layer(
        name=node.get("name").text(),
        kind=node.get("kind").text("other"),
        shape=node.get("shape").shape(),
        measurements=_measurements(node.get("measurements")),
    )


def _measurements(node: Node) -> dict[str, Measurement]:
    return {name: _measurement(member) for name, member in node.items()}


def _measurement(node: Node) -> Measurement:
    status = cast(Status, node.get("status").choice(*_STATUSES))
    return Measurement(
        status=status,
        value=node.get("value").measured_value() if status == "measured" else None,
        interval=node.get("interval").interval(),
        n=node.get("n").optional_integer(),
        method=node.get("method").optional_text(),
        reason=node.get("reason").optional_text(),
    )


def _finding(node: Node) -> Finding:
    return Finding(
        rule=node.get("id").text(),
        severity=cast(Severity, node.get("severity").choice(*SEVERITIES)),
        layer=node.get("layer").optional_text(),
        text=node.get("text").text(),
        evidence=tuple(element.text() for element in node.get("evidence").elements()),
        caveat=node.get("caveat").optional_text(),
    )


def _advice(node: Node) -> Advice:
    value = node.get("value")
    return Advice(
        kind=node.get("kind").text(),
        layer=node.get("layer").optional_text(),
        setting=node.get("setting").text(),
        value=value.text() if isinstance(value.value, str) else value.number(),
        interval=node.get("interval").interval(),
        expected_effect=node.get("expected_effect").text(""),
        basis=node.get("basis").text(""),
    )


def _provenance(node: Node) -> Provenance:
    return Provenance(
        versions={name: member.text() for name, member in node.get("versions").items()},
        settings={name: _inert(member) for name, member in node.get("settings").items()},
        seed=node.get("seed").integer(0),
        threads=node.get("threads").integer(0),
        device=node.get("device").text("unknown"),
        seconds=node.get("seconds").number(0.0),
        peak_memory=node.get("peak_memory").optional_integer(),
        skipped={name: member.text() for name, member in node.get("skipped").items()},
        created=node.get("created").text(""),
    )


def _inert(node: Node) -> Any:
    """A setting: whatever JSON can hold, with its strings printable and its numbers finite."""
    if node.value is None or isinstance(node.value, bool):
        return node.value
    if isinstance(node.value, list):
        return [_inert(element) for element in node.elements()]
    if isinstance(node.value, dict):
        return {name: _inert(member) for name, member in node.items()}
    return node.measured_value()
