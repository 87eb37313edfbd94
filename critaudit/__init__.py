"""critaudit: audit a PyTorch model with the physics of criticality.

Public names are loaded on first use, so that `import critaudit` stays fast and imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from critaudit.audit import audit as audit
    from critaudit.errors import CritauditError as CritauditError
    from critaudit.report import Report as Report
    from critaudit.sources import load as load

__version__ = "0.1.0"
_HOMES = {
    "audit": "critaudit.audit",
    "load": "critaudit.sources",
    "Report": "critaudit.report",
    "CritauditError": "critaudit.errors",
}
__all__ = ["CritauditError", "Report", "__version__", "audit", "load"]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'critaudit' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
