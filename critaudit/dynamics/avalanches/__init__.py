"""Avalanches of signals in simulated random networks; those of networks that exist are in `dynamics.model_avalanches`.

Public names are loaded on first use, so that importing the package imports neither SciPy nor torch.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from critaudit.dynamics.avalanches.ensemble import Simulation as Simulation
    from critaudit.dynamics.avalanches.ensemble import simulate as simulate
    from critaudit.dynamics.avalanches.maps import SusceptibilityMap as SusceptibilityMap
    from critaudit.dynamics.avalanches.maps import susceptibility_map as susceptibility_map

_HOMES = {
    "Simulation": "ensemble",
    "simulate": "ensemble",
    "SusceptibilityMap": "maps",
    "susceptibility_map": "maps",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'critaudit.dynamics.avalanches' has no attribute {name!r}")
    return getattr(import_module(f"critaudit.dynamics.avalanches.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
