"""Crackling noise: what sizes and durations of avalanches say about criticality. NumPy and SciPy only.

`from_avalanches` (or a simulation) gives `AvalancheCounts`, `estimate` a `Crackling`: exponents, errors, a verdict.
Public names are loaded on first use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from critaudit.laws.crackling.estimation import estimate as estimate
    from critaudit.laws.crackling.finite_size import FiniteSize as FiniteSize
    from critaudit.laws.crackling.finite_size import extrapolate as extrapolate
    from critaudit.laws.crackling.records import AvalancheCounts as AvalancheCounts
    from critaudit.laws.crackling.records import merge as merge
    from critaudit.laws.crackling.results import Crackling as Crackling
    from critaudit.laws.crackling.surrogates import surrogate_paths as surrogate_paths
    from critaudit.laws.crackling.tally import from_avalanches as from_avalanches

_HOMES = {
    "AvalancheCounts": "records",
    "Crackling": "results",
    "FiniteSize": "finite_size",
    "estimate": "estimation",
    "extrapolate": "finite_size",
    "from_avalanches": "tally",
    "merge": "records",
    "surrogate_paths": "surrogates",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'critaudit.laws.crackling' has no attribute {name!r}")
    return getattr(import_module(f"critaudit.laws.crackling.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
