"""Makes `phase_lines_table.py`, a minute's work: `python -m critaudit.theory.build_phase_lines`."""

from __future__ import annotations

from pathlib import Path

from critaudit.theory.levy import ordered_line, phase_diagram

ALPHAS = (
    *(round(0.5 + 0.05 * step, 4) for step in range(27)),
    *(1.84, 1.88, 1.91, 1.94, 1.96, 1.98, 1.99, 1.995, 2.0),
)
_HEAD = '''"""Borders of the phases of tanh networks as plain numbers, for figures: importing them costs no SciPy.

Made by `python -m critaudit.theory.build_phase_lines` from `critaudit.theory.levy`; tests compare every point with it.
"""

from __future__ import annotations

Line = tuple[tuple[float, float], ...]

'''
_COMMENTS = {
    "ORDERED_LINE": "(α, g) where the characteristic radius of the Jacobian's spectrum is one (Qu22, as drawn).",
    "FIXED_POINT_LINE": "(α, g) where q* = 0.01 (Qu22, as written).",
    "CHAOTIC_LINE": "(α, g) where the average of f₁ (L = 1, r₀ = 0.01) has come down to its value on the ordered line.",
}


def lines() -> dict[str, list[tuple[float, float]]]:
    """The three lines for tanh, in five decimals."""
    alphas = list(ALPHAS)
    diagram = phase_diagram(alphas, [1.0])
    return {
        "ORDERED_LINE": [(a, round(float(g), 5)) for a, g in zip(alphas, diagram.ordered_line, strict=True)],
        "FIXED_POINT_LINE": [(a, round(ordered_line(a, definition="fixed_point"), 5)) for a in alphas],
        "CHAOTIC_LINE": [(a, round(float(g), 5)) for a, g in zip(alphas, diagram.chaotic_line, strict=True)],
    }


def main() -> None:
    """Write the module beside this one."""
    text = _HEAD
    for name, points in lines().items():
        rows = "".join(f"    ({alpha:g}, {g:.7g}),\n" for alpha, g in points)
        text += f"# {_COMMENTS[name]}\n{name}: Line = (\n{rows})\n"
    (Path(__file__).parent / "phase_lines_table.py").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
