"""How far a training was when a checkpoint was written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

# Words and metadata that say how far a training was.
_STEP_KEYS = ("global_step", "step", "iteration", "iter", "epoch")
_NUMBER = re.compile(r"(?<![\d.])(\d{1,12})(?![\d.]*\d)")


def step_of(name: str, metadata: Mapping[str, object] | None = None) -> tuple[float, str] | None:
    """How far the training was: what the checkpoint says (global_step, …, epoch), else the last number in its name.

    The number with its unit, "step", "epoch" or "checkpoint" (a number that counts the checkpoints); None where nothing
    says it.
    """
    for key in _STEP_KEYS:
        value = (metadata or {}).get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value), "step" if key != "epoch" else "epoch"
    found = _NUMBER.findall(Path(name).stem)
    if not found:
        return None
    unit = next((word for word in ("epoch", "step", "iter") if word in name.lower()), "checkpoint")
    return float(found[-1]), "step" if unit == "iter" else unit
