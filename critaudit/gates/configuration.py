"""The project's own demands: `critaudit.toml`, or `[tool.critaudit]` in `pyproject.toml`.

fail-on = "problem"

[thresholds."edge.chi1"]        # a measurement's ID
max = 1.5
layers = "encoder.*"            # a pattern of layer names; without it: all layers, or the model
severity = "warning"            # of the finding; problem without it
missing = "fail"                # what an undetermined value is: "pass" (the default) or "fail"
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critaudit.errors import UsageError
from critaudit.report.record import SEVERITIES, Severity

_FILES = ("critaudit.toml", "pyproject.toml")
_MAX_BYTES = 4_000_000


@dataclass(frozen=True, slots=True)
class Threshold:
    """A demand on one measurement: at least `low`, at most `high`, or one of `allowed` words.

    `layers` is a pattern (`*`, `?`, `[…]`) of the layers that it is meant for. `missing` says whether a layer in which
    the measurement did not come out breaks the demand.
    """

    measurement: str
    low: float | None = None
    high: float | None = None
    allowed: tuple[str, ...] = ()
    layers: str = "*"
    severity: Severity = "problem"
    missing: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration file says; `path` is None where there is none.

    `fail_on` is "problem" where there are thresholds and the file does not say otherwise: a threshold that may be
    broken without a word to CI would be none.
    """

    path: Path | None = None
    fail_on: Severity | None = None
    thresholds: tuple[Threshold, ...] = ()


def read_configuration(path: Path | None = None, *, folder: Path | None = None) -> Configuration:
    """The configuration in `path`, or the nearest one in `folder` (default: the current one) and the folders above.

    The search ends at the first `critaudit.toml`, `pyproject.toml` with a `[tool.critaudit]`, or folder that holds a
    `.git`. Raises UsageError, in one line, for a file that cannot be read or says something unknown.
    """
    if path is not None:
        found = _load(path)
        table = _table(found, path)
        return _configuration(found if table is None else table, path)
    for place in _upwards(folder or Path.cwd()):
        for name in _FILES:
            candidate = place / name
            if candidate.is_file() and (table := _table(_load(candidate), candidate)) is not None:
                return _configuration(table, candidate)
        if (place / ".git").exists():
            break
    return Configuration()


def _upwards(folder: Path) -> list[Path]:
    here = folder.resolve()
    return [here, *here.parents]


def _load(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise UsageError(f"{path}: this configuration is larger than {_MAX_BYTES:,} bytes")
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise UsageError(f"{path}: this configuration cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: this is no TOML: {error}") from None


def _table(found: dict[str, Any], path: Path) -> dict[str, Any] | None:
    """critaudit's own part of the file; all of it where the file is ours."""
    if path.name != "pyproject.toml":
        return found
    table = found.get("tool", {}).get("critaudit")
    if table is not None and not isinstance(table, dict):
        raise UsageError(f"{path}: tool.critaudit is {type(table).__name__}; a table is expected")
    return table


def _configuration(table: Mapping[str, Any], path: Path) -> Configuration:
    _known(table, {"fail-on", "thresholds"}, path, "")
    fail_on = table.get("fail-on")
    if fail_on is not None and fail_on not in SEVERITIES:
        raise UsageError(f"{path}: fail-on is {fail_on!r}; {', '.join(SEVERITIES)} are known")
    demands = table.get("thresholds", {})
    if not isinstance(demands, dict):
        raise UsageError(f'{path}: thresholds must be a table of measurement IDs, such as [thresholds."edge.chi1"]')
    thresholds: list[Threshold] = []
    for identifier, demand in demands.items():
        for one in demand if isinstance(demand, list) else [demand]:
            thresholds.append(_threshold(identifier, one, path))
    return Configuration(path, fail_on or ("problem" if thresholds else None), tuple(thresholds))


def _threshold(identifier: str, demand: object, path: Path) -> Threshold:
    where = f'thresholds."{identifier}"'
    if not isinstance(demand, dict):
        raise UsageError(f"{path}: {where} must be a table with min, max or allowed")
    if "." not in identifier:
        raise UsageError(f'{path}: {where} is no measurement\'s ID; quote it whole, as in [thresholds."edge.chi1"]')
    _known(demand, {"min", "max", "allowed", "layers", "severity", "missing"}, path, f"{where}: ")
    ends = {}
    for name in ("min", "max"):
        value = demand.get(name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value)):
            raise UsageError(f"{path}: {where}: {name} is {value!r}; a number is expected")
        ends[name] = None if value is None else float(value)
    allowed = demand.get("allowed", [])
    if not isinstance(allowed, list) or not all(isinstance(word, str) for word in allowed):
        raise UsageError(f"{path}: {where}: allowed must be a list of words")
    if ends["min"] is None and ends["max"] is None and not allowed:
        raise UsageError(f"{path}: {where} demands nothing; give min, max or allowed")
    if ends["min"] is not None and ends["max"] is not None and ends["min"] > ends["max"]:
        raise UsageError(f"{path}: {where}: min is above max")
    severity = demand.get("severity", "problem")
    if severity not in SEVERITIES:
        raise UsageError(f"{path}: {where}: severity is {severity!r}; {', '.join(SEVERITIES)} are known")
    missing = demand.get("missing", "pass")
    if missing not in ("pass", "fail"):
        raise UsageError(f"{path}: {where}: missing is {missing!r}; pass and fail are known")
    layers = demand.get("layers", "*")
    if not isinstance(layers, str):
        raise UsageError(f'{path}: {where}: layers must be a pattern of names, such as "encoder.*"')
    return Threshold(identifier, ends["min"], ends["max"], tuple(allowed), layers, severity, missing == "fail")


def _known(table: Mapping[str, Any], names: set[str], path: Path, where: str) -> None:
    unknown = sorted(set(table) - names)
    if unknown:
        raise UsageError(f"{path}: {where}{unknown[0]!r} is not known here; {', '.join(sorted(names))} are")
