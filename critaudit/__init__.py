"""critaudit: audit a PyTorch model with the physics of criticality.

Public names are loaded on first use, so that `import critaudit` is fast and imports no torch. Nothing at all is
imported here, not even from the standard library: `python -m critaudit` in a hostile folder must not run that folder's
typing.py.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from critaudit import advice as advice
    from critaudit import dynamics as dynamics
    from critaudit import init as init
    from critaudit import laws as laws
    from critaudit import theory as theory
    from critaudit import training as training
    from critaudit.advising import Advice as Advice
    from critaudit.advising import advise as advise
    from critaudit.auditing import audit as audit
    from critaudit.comparing import Comparison as Comparison
    from critaudit.comparing import compare as compare
    from critaudit.errors import CritauditError as CritauditError
    from critaudit.report import Report as Report
    from critaudit.sources import load as load
    from critaudit.surveying import survey as survey
    from critaudit.training import Monitor as Monitor

__version__ = "0.1.1"
_HOMES = {
    "advise": "critaudit.advising",
    "Advice": "critaudit.advising",
    "audit": "critaudit.auditing",
    "load": "critaudit.sources",
    "survey": "critaudit.surveying",
    "compare": "critaudit.comparing",
    "Comparison": "critaudit.comparing",
    "Report": "critaudit.report",
    "Monitor": "critaudit.training",
    "CritauditError": "critaudit.errors",
}
_PACKAGES = ("advice", "dynamics", "init", "laws", "theory", "training")
__all__ = [
    "Advice",
    "Comparison",
    "CritauditError",
    "Monitor",
    "Report",
    "__version__",
    "advise",
    "audit",
    "compare",
    "load",
    "survey",
]


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _PACKAGES:
        return import_module(f"critaudit.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'critaudit' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted([*__all__, *_PACKAGES])
