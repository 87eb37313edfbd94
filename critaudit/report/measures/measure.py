"""What a measurement is called in front of people."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """A measurement's name in the field's words, its sign, and one sentence on what it is.

    `plotted` marks a series of numbers that is there for a figure: tables leave it out, the JSON holds it.
    """

    label: str
    symbol: str | None = None
    meaning: str | None = None
    plotted: bool = False

    @property
    def heading(self) -> str:
        """The shortest unambiguous heading of a table column."""
        return f"{self.label} {self.symbol}" if self.symbol else self.label
