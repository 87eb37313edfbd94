"""What the estimation of avalanche exponents says: frozen records, everything that a figure or a table needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.crackling.branching import Branching
from critaudit.laws.crackling.collapse import Collapse
from critaudit.laws.crackling.cross_check import CrossCheck
from critaudit.laws.crackling.rivals import RivalLaw
from critaudit.laws.crackling.truncated import RangeFit

Array = NDArray[np.float64]
SizeKind: TypeAlias = Literal["total", "excess"]
VerdictKind: TypeAlias = Literal[
    "undetermined", "no_power_law", "insufficient_range", "null_equivalent", "classes", "no_listed_class"
]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval, or with the reason why it has none.

    `value` is the plain one: of a pure power law on the fitted range, a straight line, a ratio. `interval` is centred
    on `corrected`, which allows for corrections to scaling and a cut-off (for a ratio, for its bias), with `error` from
    resampling clusters, and stretched so that it always contains `value`; `unstretched` is what it was before, the
    interval of `corrected`. None where there is none, as `reason` says.
    """

    value: float
    interval: tuple[float, float] | None
    corrected: float | None
    error: float | None
    reason: str = ""
    unstretched: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PowerLaw:
    """The distribution of one quantity: where it is a power law, with which exponent, and what else it could be.

    `fit` is None where no range with enough values passes the tests; `reason` says so. `available` are the decades
    that the data offer: the widest range with enough values in it. `density` is the logarithmically binned density of
    all uncensored avalanches: rows of x, p(x), number.
    """

    quantity: str
    n: float
    fit: RangeFit | None
    exponent: Estimate | None
    rivals: tuple[RivalLaw, ...]
    available: float
    density: Array
    cross_check: CrossCheck | None
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class MeanSizeLaw:
    """⟨S⟩(D) ∝ D^{1/σνz} on low ≤ D ≤ high, ln⟨S⟩ = intercept + slope·ln D.

    `points` are rows of D, ⟨S⟩, the relative error of ⟨S⟩ and the number of avalanches, for all durations.
    """

    slope: Estimate
    intercept: float
    low: float
    high: float
    curvature: float
    points: Array


@dataclass(frozen=True, slots=True)
class ClassDistance:
    """Mahalanobis distance of (τ, α, 1/σνz) from a class or a null; `p` of so large a distance by chance (χ², 3).

    `excluded` where p < 0.05.
    """

    name: str
    exponents: tuple[float, float, float]
    distance: float
    p: float
    excluded: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the exponents amount to, in one word and in plain language.

    `classes` names the universality classes that are not excluded (only for `classes`), `nulls` the null models that
    give the same exponents (only for `null_equivalent`).
    """

    kind: VerdictKind
    text: str
    classes: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class SizeScaling:
    """Everything that depends on how sizes are defined: `total` sums s, `excess` sums s − θ.

    `relation` is (α − 1)/(τ − 1) of the plain exponents, `corrected_relation` that of the corrected ones; `mismatch` is
    the crackling mismatch DCC = |relation − 1/σνz|, corrected in the same way. `centre` and `covariance`
    are those of (τ, α, 1/σνz), corrections allowed for, without the systematic floor; `cloud` (resamples, 3) the
    bootstrap they come from. None where an exponent or the clusters are lacking.
    """

    kind: SizeKind
    size: PowerLaw
    mean_size: MeanSizeLaw | None
    collapse: Collapse | None
    collapse_exponent: Estimate | None
    relation: float | None
    corrected_relation: float | None
    mismatch: Estimate | None
    centre: Array | None
    covariance: Array | None
    cloud: Array | None
    classes: tuple[ClassDistance, ...]
    nulls: tuple[ClassDistance, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True, eq=False)
class Crackling:
    """Avalanche exponents of an ensemble, their errors and what they amount to.

    `verdict` is that of the excess sizes: classes are defined by the activity above the threshold. `branching` and
    `branching_ratio` come from the multistep regression.
    """

    name: str
    paths: float
    avalanches: float
    none: float
    censored: float
    clusters: int
    resamples: int
    duration: PowerLaw
    total: SizeScaling
    excess: SizeScaling
    branching: Branching | None
    branching_ratio: Estimate | None
    verdict: Verdict
