"""Advice before and during a training: a report, and the recommendation as code that can be copied or applied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from critaudit.advice import InitialisationAdvice, WeightDecayAdvice
    from critaudit.init import Critical
    from critaudit.report import Report


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Advice:
    """What to start a training from and which weight decay to use, with what both rest on.

    `report` is an ordinary report (`critaudit.report/1`, format "advice"). `initialisation` and `weight_decay` are the
    records behind it; None where the source does not tell (`report.findings` say why).
    """

    report: Report
    initialisation: InitialisationAdvice | None
    weight_decay: WeightDecayAdvice | None

    @property
    def snippet(self) -> str:
        """Python to copy: the initialisation, then the optimizer."""
        from critaudit.advising.judging import code

        parts = [] if self.initialisation is None else [code(self.initialisation)]
        if self.weight_decay is not None and self.weight_decay.weight_decay.number is not None:
            parts.append(self.weight_decay.snippet)
        return "\n\n".join(parts)

    def apply_(self, module: nn.Module) -> Critical | None:
        """Initialise `module` in place as recommended; None where its weights are to stay or nothing is advised.

        Raises UsageError where the network does not run on the inputs that the advice was made with.
        """
        return None if self.initialisation is None else self.initialisation.apply_(module)

    def to_html(self, path: str | Path) -> Path:
        """Write the report as one self-contained HTML page."""
        return self.report.to_html(path)

    def to_json(self, path: str | Path) -> Path:
        """Write the report as JSON."""
        return self.report.to_json(path)

    def __repr__(self) -> str:
        parts = []
        if self.initialisation is not None:
            parts.append(f"initialisation: {self.initialisation.chosen.name}")
        if self.weight_decay is not None:
            parts.append(self.weight_decay.headline)
        return f"<Advice on {self.report.source.name}: {', '.join(parts)}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"{self.report._repr_html_()}<pre><code>{escape(self.snippet)}</code></pre>"
