"""What a survey's tables say, in the numbers that its page shows."""

from __future__ import annotations

import io
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from critaudit.surveying.store import Store

if TYPE_CHECKING:
    import pandas as pd

# The quantities whose distributions are shown, by layer and per model.
HEADLINE = ("entries.alpha", "entries.g_forward", "edge.chi1", "spectrum.stable_rank", "signal.strength")
_OUTLIERS = 25
_MAD = 1.4826  # of a Gaussian: standard deviation over median absolute deviation
_FAR = 5.0


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of a model's layers and the range of their middle half; `n` layers have the measurement.

    `interval` holds the median with 95 % confidence; None for fewer than six layers.
    """

    median: float
    low: float
    high: float
    n: int
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class ModelRow:
    """One source in the page's table. `page` is the link to its report, None where there is none."""

    source: str
    status: str
    reason: str | None
    page: str | None
    architecture: str | None
    family: str | None
    parameters: int | None
    layers: int | None
    spreads: dict[str, Spread]
    trained_share: float | None
    problems: int
    warnings: int


@dataclass(frozen=True, slots=True)
class Outlier:
    """A layer far from the middle of all layers: `deviations` robust standard deviations (log scale for scales)."""

    source: str
    layer: str
    kind: str
    measurement: str
    value: float
    deviations: float


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """Everything that a survey's page shows: rows, outliers, counts, and the layers as arrays for the figures."""

    rows: tuple[ModelRow, ...]
    outliers: tuple[Outlier, ...]
    statuses: dict[str, int]
    layer_count: int
    columns: tuple[str, ...]
    family: NDArray[np.object_]
    kind: NDArray[np.object_]
    depth: NDArray[np.float64]
    values: dict[str, NDArray[np.float64]]


def summarise(store: Store) -> Summary:
    """Read the tables at the store's place. Raises StoreError where they cannot be read."""
    import pandas as pd

    models = pd.read_parquet(io.BytesIO(store.place.read("models.parquet")))
    layers = pd.read_parquet(io.BytesIO(store.place.read("layers.parquet")))
    columns = tuple(name for name in HEADLINE if name in layers)
    grouped = {str(source): part for source, part in layers.groupby("source", sort=False)}
    rows = tuple(_row(row, grouped.get(str(row["source"])), columns, store) for row in models.to_dict("records"))
    return Summary(
        rows=rows,
        outliers=_outliers(layers, columns),
        statuses=dict(Counter(row.status for row in rows)),
        layer_count=len(layers),
        columns=columns,
        family=layers["family"].fillna("other").to_numpy(dtype=object),
        kind=layers["kind"].to_numpy(dtype=object),
        depth=layers["depth"].to_numpy(dtype=np.float64),
        values={name: layers[name].to_numpy(dtype=np.float64) for name in columns},
    )


def _row(row: dict[Any, Any], layers: pd.DataFrame | None, columns: tuple[str, ...], store: Store) -> ModelRow:
    spreads = {}
    trained = None
    if layers is not None:
        spreads = {name: spread for name in columns if (spread := _spread(layers[name])) is not None}
        if "spectrum.verdict" in layers and (judged := layers["spectrum.verdict"].dropna()).size:
            trained = float(judged.str.startswith("correlated").mean())
    return ModelRow(
        source=row["source"],
        status=row["status"],
        reason=_text(row["reason"]),
        page=store.page(row["key"]),
        architecture=_text(row["architecture"]),
        family=_text(row["family"]),
        parameters=_integer(row["parameters"]),
        layers=_integer(row["layers"]),
        spreads=spreads,
        trained_share=trained,
        problems=_integer(row["problems"]) or 0,
        warnings=_integer(row["warnings"]) or 0,
    )


def _spread(column: pd.Series) -> Spread | None:
    values = column.dropna().to_numpy(dtype=np.float64)
    if not values.size:
        return None
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    return Spread(float(median), float(low), float(high), int(values.size), median_interval(values))


def median_interval(values: NDArray[np.float64]) -> tuple[float, float] | None:
    """The 95 % interval of the median that holds for any distribution: two of the ordered values, by binomial ranks.

    None for fewer than six values, of which not even the range holds the median so often (Conover 1999, ch. 3.2).
    """
    from scipy.stats import binom

    rank = int(binom.ppf(0.025, values.size, 0.5))
    if rank < 1:
        return None
    ordered = np.sort(values)
    return float(ordered[rank - 1]), float(ordered[values.size - rank])


def _outliers(layers: pd.DataFrame, columns: tuple[str, ...]) -> tuple[Outlier, ...]:
    """The layers farthest from the median of all, in robust deviations; positive scales are compared by logarithm."""
    found: list[Outlier] = []
    for name in columns:
        values = layers[name].to_numpy(dtype=np.float64)
        scaled = values if name == "entries.alpha" else np.log(np.where(values > 0, values, np.nan))
        present = scaled[np.isfinite(scaled)]
        if present.size < 20:
            continue
        median = float(np.median(present))
        width = _MAD * float(np.median(np.abs(present - median)))
        if not width > 0:
            continue
        deviations = (scaled - median) / width
        for place in np.flatnonzero(np.abs(np.nan_to_num(deviations)) > _FAR):
            row = layers.iloc[int(place)]
            found.append(
                Outlier(row["source"], row["name"], row["kind"], name, float(values[place]), float(deviations[place]))
            )
    found.sort(key=lambda outlier: -abs(outlier.deviations))
    return tuple(found[:_OUTLIERS])


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _integer(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
