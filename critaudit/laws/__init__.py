"""Statistics on arrays: which law do the numbers follow? NumPy and SciPy only.

Public names are loaded on first use, so that importing one law does not import SciPy for all of them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from critaudit.laws.comparison import EntryLaws as EntryLaws
    from critaudit.laws.comparison import compare_entry_laws as compare_entry_laws
    from critaudit.laws.power_law import PowerTail as PowerTail
    from critaudit.laws.power_law import TruncatedPowerLaw as TruncatedPowerLaw
    from critaudit.laws.power_law import fit_power_tail as fit_power_tail
    from critaudit.laws.power_law import truncated_power_law as truncated_power_law
    from critaudit.laws.stable import StableFit as StableFit
    from critaudit.laws.stable import fit_stable as fit_stable
    from critaudit.laws.stable import stable_cdf as stable_cdf
    from critaudit.laws.stable import stable_logpdf as stable_logpdf

_HOMES = {
    "EntryLaws": "comparison",
    "compare_entry_laws": "comparison",
    "PowerTail": "power_law",
    "TruncatedPowerLaw": "power_law",
    "fit_power_tail": "power_law",
    "truncated_power_law": "power_law",
    "StableFit": "stable",
    "fit_stable": "stable",
    "stable_cdf": "stable",
    "stable_logpdf": "stable",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'critaudit.laws' has no attribute {name!r}")
    return getattr(import_module(f"critaudit.laws.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
