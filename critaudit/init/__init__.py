"""Initialisations in the style of `torch.nn.init`: they change a tensor or a module in place and return it or a record.

`stable_`, `gaussian_` and `orthogonal_` fill one weight; `critical_` initialises a whole network.
"""

from __future__ import annotations

from critaudit.init.critical import Critical, LayerGain, critical_
from critaudit.init.operating_length import OperatingPoint, operating_point
from critaudit.init.weights import gaussian_, orthogonal_, stable_

__all__ = [
    "Critical",
    "LayerGain",
    "OperatingPoint",
    "critical_",
    "gaussian_",
    "operating_point",
    "orthogonal_",
    "stable_",
]
