"""What is known of a training at a recorded step, and of the training as a whole; as the log's lines and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any, Literal, TypeAlias

from critaudit.advice.course import OptimizerSetting
from critaudit.errors import CorruptFileError
from critaudit.model import LedgerEntry
from critaudit.training.followed import Followed

SCHEMA = "critaudit.training/1"
Severity: TypeAlias = Literal["info", "warning", "problem"]
# (exponent per layer of a quantity's change with depth, its standard error or None, number of layers)
Growth: TypeAlias = tuple[float, float | None, int]
# (estimate, lower end, upper end)
Interval: TypeAlias = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class LayerNow:
    """One followed matrix at a recorded step; None is "not measured at this step", or not finite (see `Record`).

    `j0` = N·mean(W), `j_squared` = N·var(W), `sigma_b` the bias's root mean square, `chi1` that of the layer's own
    activation at these. `adaptivity` = mean(w²/(√v̂+ε))/mean(w²) of Adam. `signal` is the root mean square of the
    output of the layer's module, `gradient` the norm of the loss's gradient with respect to it over the batch, `dead`
    the share of its units that no sample of the batch activates (ReLU). `alpha` and `g` are those of a stable law
    fitted to the entries, `norm` and `stable_rank` those of the matrix. `setting` is the place of its optimizer setting
    in `Record.settings`, None for weights that are not trained.
    """

    j0: float | None = None
    j_squared: float | None = None
    sigma_b: float | None = None
    chi1: float | None = None
    adaptivity: float | None = None
    signal: float | None = None
    gradient: float | None = None
    dead: float | None = None
    alpha: Interval | None = None
    g: float | None = None
    norm: float | None = None
    stable_rank: float | None = None
    setting: int | None = None

    @property
    def j(self) -> float | None:
        """J = √(N·var(W))."""
        return None if self.j_squared is None else math.sqrt(self.j_squared)


@dataclass(frozen=True, slots=True)
class Record:
    """A recorded step: `step` optimizer steps are done. `time` is Unix time in seconds.

    `layers` are in the order of `Header.layers`. `growth` holds, for "signal" (from the first layer to the last) and
    "gradient" (from the last to the first), the exponent of the change per layer. `non_finite` lists what was NaN or
    infinite: ("weights" | "signal" | "gradient", place of the layer), or ("loss", −1). `overhead` is the monitor's
    share of the training's time so far.
    """

    step: int
    time: float
    layers: tuple[LayerNow, ...]
    settings: tuple[OptimizerSetting, ...]
    loss: float | None = None
    growth: Mapping[str, Growth] | None = None
    non_finite: tuple[tuple[str, int], ...] = ()
    overhead: float | None = None


@dataclass(frozen=True, slots=True)
class Header:
    """What the log says of the training as a whole, in its first line.

    `order` is added when the network first runs under the monitor: the paths of its modules in the order of running.
    """

    name: str
    model: str
    layers: tuple[Followed, ...]
    dataset_size: int | None
    batch_size: int | None
    optimizer: str
    parameters: int
    ledger: tuple[LedgerEntry, ...]
    versions: Mapping[str, str]
    settings: Mapping[str, Any]
    created: str
    device: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the owner of a training should hear of while it runs; `layer` is None for the network."""

    rule: str
    severity: Severity
    step: int
    layer: str | None
    value: float | None
    text: str


def header_line(header: Header) -> dict[str, Any]:
    """The header as plain values."""
    plain = {one.name: getattr(header, one.name) for one in fields(header)}
    plain["layers"] = [_without_defaults(layer) for layer in header.layers]
    plain["ledger"] = [asdict(entry) for entry in header.ledger]
    return {"kind": "start", "schema": SCHEMA, **plain}


def header_of(line: Mapping[str, Any], where: str) -> Header:
    """The header in a decoded line. Raises CorruptFileError where it is none."""
    if line.get("kind") != "start" or not str(line.get("schema", "")).startswith("critaudit.training/"):
        raise CorruptFileError(f"{where}: its first line is no header of a Monitor's log")
    try:
        layers = tuple(Followed(**_tuples(layer)) for layer in line["layers"])
        ledger = tuple(LedgerEntry(**_tuples(entry)) for entry in line.get("ledger", ()))
        return Header(
            name=str(line["name"]),
            model=str(line["model"]),
            layers=layers,
            dataset_size=line.get("dataset_size"),
            batch_size=line.get("batch_size"),
            optimizer=str(line.get("optimizer", "")),
            parameters=int(line.get("parameters", 0)),
            ledger=ledger,
            versions=dict(line.get("versions", {})),
            settings=dict(line.get("settings", {})),
            created=str(line.get("created", "")),
            device=str(line.get("device", "")),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{where}: its header cannot be understood ({type(error).__name__}: {error})") from None


def record_line(record: Record) -> dict[str, Any]:
    """A record as plain values: per quantity a column over the layers, columns without any number left out."""
    line: dict[str, Any] = {"kind": "record", "step": record.step, "time": record.time}
    for name in ("loss", "overhead"):
        value = getattr(record, name)
        if value is not None:
            line[name] = value
    for name in LAYER_FIELDS:
        column = [getattr(layer, name) for layer in record.layers]
        if any(value is not None for value in column):
            line[name] = column
    line["settings"] = [_without_defaults(setting) for setting in record.settings]
    if record.growth:
        line["growth"] = {name: list(value) for name, value in record.growth.items()}
    if record.non_finite:
        line["non_finite"] = [list(item) for item in record.non_finite]
    return line


def record_of(line: Mapping[str, Any], count: int) -> Record:
    """The record in a decoded line about `count` layers. Raises KeyError, TypeError or ValueError where it is none."""
    columns = {name: line.get(name) for name in LAYER_FIELDS}
    for name, column in columns.items():
        if column is not None and len(column) != count:
            raise ValueError(f"{name} has {len(column)} entries for {count} layers")
    rows = [{name: column[place] for name, column in columns.items() if column is not None} for place in range(count)]
    growth = line.get("growth")
    return Record(
        step=int(line["step"]),
        time=float(line["time"]),
        layers=tuple(LayerNow(**_tuples(row)) for row in rows),
        settings=tuple(OptimizerSetting(**_tuples(setting)) for setting in line.get("settings", ())),
        loss=line.get("loss"),
        growth=None if growth is None else {str(name): _growth(value) for name, value in growth.items()},
        non_finite=tuple((str(what), int(place)) for what, place in line.get("non_finite", ())),
        overhead=line.get("overhead"),
    )


LAYER_FIELDS = tuple(one.name for one in fields(LayerNow))


def _growth(value: Sequence[Any]) -> Growth:
    exponent, error, depth = value
    return float(exponent), None if error is None else float(error), int(depth)


def _without_defaults(record: Any) -> dict[str, Any]:
    """A dataclass as a dictionary without the fields that have their default values."""
    return {
        one.name: getattr(record, one.name)
        for one in fields(record)
        if one.default is MISSING or getattr(record, one.name) != one.default
    }


def _tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    """JSON's lists as the tuples that they were."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
