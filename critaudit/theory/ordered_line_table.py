"""The ordered line of tanh networks as plain numbers, for figures: importing them costs no SciPy.

Made by `critaudit.theory.levy.ordered_line` (definition "cutoff"), which a test compares every point with; a straight
line between neighbours is off by less than 0.005 in g.
"""

from __future__ import annotations

# (α, g) where the characteristic spectral radius of the Jacobian is one, for tanh and independent weights (Qu22).
ORDERED_LINE: tuple[tuple[float, float], ...] = (
    (0.5, 0.58976),
    (0.55, 0.52941),
    (0.6, 0.49561),
    (0.65, 0.47628),
    (0.7, 0.46565),
    (0.75, 0.46065),
    (0.8, 0.4595),
    (0.85, 0.46112),
    (0.9, 0.46483),
    (0.95, 0.47018),
    (1, 0.47687),
    (1.05, 0.48473),
    (1.1, 0.49361),
    (1.15, 0.50348),
    (1.2, 0.51428),
    (1.25, 0.52605),
    (1.3, 0.53883),
    (1.35, 0.55268),
    (1.4, 0.56773),
    (1.45, 0.58411),
    (1.5, 0.60201),
    (1.55, 0.6217),
    (1.6, 0.6435),
    (1.65, 0.66782),
    (1.7, 0.69523),
    (1.75, 0.7265),
    (1.8, 0.76266),
    (1.84, 0.7961),
    (1.88, 0.83469),
    (1.91, 0.86789),
    (1.94, 0.90569),
    (1.96, 0.93399),
    (1.98, 0.96528),
    (1.99, 0.98222),
    (1.995, 0.99104),
    (2, 1),
)
