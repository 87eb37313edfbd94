"""The tanh boundary of `critaudit.theory.spin_glass`, tabulated: a guide for figures that must not wait for SciPy."""

from __future__ import annotations

# (J₀, J) with J = boundary(J₀), tested against it; between |J₀| ≤ 1 the boundary is J = 1, and it is even in J₀.
BOUNDARY: tuple[tuple[float, float], ...] = (
    (0.0, 1.0),
    (1.0, 1.0),
    (1.05, 1.047887),
    (1.1, 1.092598),
    (1.2, 1.175894),
    (1.3, 1.253745),
    (1.4, 1.327865),
    (1.5, 1.399209),
    (1.75, 1.568912),
    (2.0, 1.729951),
    (2.25, 1.88492),
    (2.5, 2.035289),
    (2.75, 2.181988),
    (3.0, 2.32565),
    (3.5, 2.605578),
    (4.0, 2.877572),
    (4.5, 3.143201),
    (5.0, 3.403537),
    (6.0, 3.911259),
    (7.0, 4.405038),
    (8.0, 4.887612),
    (9.0, 5.36087),
    (10.0, 5.826193),
)
