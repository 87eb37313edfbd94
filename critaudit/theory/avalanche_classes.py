"""Universality classes of avalanches: exponents of sizes, durations and of the mean size by duration.

P(S) ∝ S^−τ, P(D) ∝ D^−α, ⟨S⟩(D) ∝ D^{1/σνz}; all classes obey (α − 1)/(τ − 1) = 1/σνz (Sethna, Dahmen & Myers 2001).
Where a class is known by other exponents, these three are derived here, not copied.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class UniversalityClass:
    """One class: τ, α and 1/σνz, where they come from, and whether noise without interactions has them too.

    `null` marks exponents that a random walk already gives: data that agree with them are no evidence of criticality.
    `caveat` says what is not certain about the row.
    """

    name: str
    tau: float
    alpha: float
    slope: float
    source: str
    null: bool = False
    caveat: str = ""

    @property
    def exponents(self) -> tuple[float, float, float]:
        """(τ, α, 1/σνz)."""
        return self.tau, self.alpha, self.slope


def spreading_exponents(
    beta: float, nu_parallel: float, nu_perpendicular: float, dimension: int
) -> tuple[float, float, float]:
    """(τ, α, 1/σνz) of avalanches from one seed in d dimensions (Muñoz, Dickman, Vespignani & Zapperi 1999).

    With δ = β/ν∥ and hyperscaling: α = 1 + δ, 1/σνz = 1 + d·ν⊥/ν∥ − δ, τ = 1 + δ·σνz. Holds for directed percolation,
    where the probability to survive and the density decay alike, below four dimensions.
    """
    delta = beta / nu_parallel
    slope = 1.0 + dimension * nu_perpendicular / nu_parallel - delta
    return 1.0 + delta / slope, 1.0 + delta, slope


def interface_exponents(fractal_dimension: float, z: float) -> tuple[float, float, float]:
    """(τ, α, 1/σνz) where the mean size of avalanches grows as L²: τ = 2 − 2/D, α = 1 + (D − 2)/z, 1/σνz = D/z.

    Holds for sandpiles driven in the bulk and for driven interfaces with short-range elasticity, D = d + ζ there
    (Durin & Zapperi 2006, §IV; Huynh, Pruessner & Chew 2011, §4).
    """
    return 2.0 - 2.0 / fractal_dimension, 1.0 + (fractal_dimension - 2.0) / z, fractal_dimension / z


def directed_percolation_expansion(dimension: int) -> tuple[float, float, float]:
    """(β, ν∥, ν⊥) of directed percolation to second order in ε = 4 − d (Bronzan & Dash 1974; Janssen 1981).

    An independent check of simulated values: good to one per cent at d = 3, worse below.
    """
    from math import log

    epsilon, root = 4.0 - dimension, log(4.0 / 3.0)
    beta = 1.0 - epsilon / 6.0 * (1.0 - (11.0 / 288.0 - 53.0 / 144.0 * root) * epsilon)
    perpendicular = 0.5 + epsilon / 16.0 * (1.0 + (107.0 / 288.0 - 17.0 / 144.0 * root) * epsilon)
    z = 2.0 - epsilon / 12.0 * (1.0 + (67.0 / 288.0 + 59.0 / 144.0 * root) * epsilon)
    return beta, z * perpendicular, perpendicular


CLASSES: tuple[UniversalityClass, ...] = (
    UniversalityClass(
        "mean-field directed percolation (branching process, long-range Barkhausen)",
        1.5,
        2.0,
        2.0,
        "exact: Otter 1949; Zapperi, Lauritsen & Stanley 1995; Durin & Zapperi 2000",
    ),
    UniversalityClass(
        "short-range Barkhausen",
        1.27,
        1.5,
        1.77,
        "Durin & Zapperi 2000; 2 − 2/(2 + ζ), (2 + ζ)/z with ζ = 0.753, z = 1.56 (Rosso, Hartmann & Krauth 2003)",
    ),
    UniversalityClass(
        "two-dimensional Barkhausen (zigzag walls)",
        4.0 / 3.0,
        1.5,
        1.5,
        "τ: Cerruti & Zapperi 2007; Ryu, Akinaga & Shin 2007",
        caveat="α and 1/σνz are less certain; the row cannot be told from a Brownian excursion",
    ),
    UniversalityClass(
        "directed percolation 1+1",
        *spreading_exponents(0.276486, 1.733847, 1.096854, 1),
        "β, ν∥, ν⊥: Jensen 1999",
    ),
    UniversalityClass(
        "directed percolation 2+1",
        *spreading_exponents(0.584, 1.295, 0.734, 2),
        "β, ν∥, ν⊥: Voigt & Ziff 1997; Hinrichsen 2000, Table 2",
    ),
    UniversalityClass(
        "directed percolation 3+1",
        *spreading_exponents(0.818, 1.106, 0.582, 3),
        "β, ν∥, ν⊥: Wang, Zhou, Liu, Garoni & Deng 2013",
    ),
    UniversalityClass(
        "Brownian excursion (random walk)",
        4.0 / 3.0,
        1.5,
        1.5,
        "exact: area under an excursion between returns to zero; Sparre Andersen 1953, Takács 1991",
        null=True,
    ),
    UniversalityClass(
        "Manna, two dimensions",
        *interface_exponents(2.750, 1.532),
        "D and z: Huynh, Pruessner & Chew 2011",
    ),
)
"""The classes that measured exponents are compared with."""
