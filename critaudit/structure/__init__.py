"""From named tensors to weight matrices and the coverage ledger, without torch."""

from __future__ import annotations

from critaudit.structure.arrange import arrange

__all__ = ["arrange"]
