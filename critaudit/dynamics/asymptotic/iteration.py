"""An operator applied over and over to its own output: where nearby inputs end up, and the Jacobian there (Zhang21).

Zhang21 calls a network ordered where two nearby inputs come to the same end, and chaotic where they stay apart; at the
edge of chaos the norm of the Jacobian on the attractor is about one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Phase: TypeAlias = Literal["ordered", "chaotic", "undecided", "diverges"]

# Distance of the two inputs at the start, relative to their size.
NEARBY = 1e-3
# A signal below the former has died out, beyond the latter it has run away.
_GONE, _RUN_AWAY = 1e-60, 1e12
# A difference that shrinks by more than this in one step is lost: zero weights, or units that are saturated for good.
_VANISHED = 1e-150
# Rise of ln strength over the second half, least and in units of what is left around a straight line, that no settled
# signal shows. One that grows in proportion to the steps rises by ln 2 = 0.69, however many they are.
_RISE, _RISE_TO_REST = 0.2, 4.0
# Student's t, 97.5 %, for means over so many inputs.
_STUDENT = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}


@dataclass(frozen=True, slots=True)
class Step:
    """One application to K states at once, arrays of shape (K, N).

    `state` and `partner` are the operator's values at both states, `tangent` is its Jacobian at the first one times the
    given direction. `jacobian` is ‖J‖_F²/N there, shape (K,), or None where that is not computed. `strength` is the
    root mean square by which the signal is judged (pre-activations, for a layer), shape (K,).
    """

    state: Array
    partner: Array
    tangent: Array
    jacobian: Array | None
    strength: Array


class Operator(Protocol):
    """A map of states of N numbers to states of N numbers. `precision` is its relative rounding error."""

    @property
    def precision(self) -> float: ...

    def __call__(self, state: Array, partner: Array, tangent: Array) -> Step: ...


@dataclass(frozen=True, slots=True)
class Asymptotics:
    """What became of K inputs and their partners, each a thousandth away at the start.

    exponents: mean over the second half of the steps of ln(|Jv|/|v|) along the orbit, the maximal Lyapunov exponent;
    below 0 nearby states meet, above 0 they separate; ln 1e-150 where differences vanish at once. distances: root mean
    square of the pair's difference over that half, per √N; `begun` is what it was at the start, and `strengths` are
    those of the signal. jacobians: ‖J*‖_F/√N, geometric mean over that half, or () where it is not computed. fixed:
    whether the state stopped changing. growth: slope of ln strength per step in that half, mean over inputs. `steps`
    were made; `diverged` says that the signal ran away or is steadily on its way.
    """

    exponents: tuple[float, ...]
    distances: tuple[float, ...]
    begun: tuple[float, ...]
    strengths: tuple[float, ...]
    jacobians: tuple[float, ...]
    fixed: tuple[bool, ...]
    growth: float
    steps: int
    diverged: bool

    @property
    def phase(self) -> Phase:
        """Ordered or chaotic where the interval of the exponent lies on one side of 0, `diverges`, or `undecided`."""
        if self.diverged:
            return "diverges"
        low, high = self.interval
        if high < 0.0:
            return "ordered"
        return "chaotic" if low > 0.0 else "undecided"

    @property
    def exponent(self) -> float:
        """Mean over inputs."""
        return math.fsum(self.exponents) / len(self.exponents)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the exponent over inputs, and at least what the finite number of steps leaves open."""
        half = mean_error(self.exponents) + 2.0 / max(self.steps // 2, 1)
        # Where all states stand still the Jacobian is constant, and only its slowest modes are still turning.
        return self.exponent - half, self.exponent + half

    @property
    def separated(self) -> bool:
        """Whether any pair is further apart than it began."""
        return any(distance > begun for distance, begun in zip(self.distances, self.begun, strict=True))


def mean_error(values: tuple[float, ...]) -> float:
    """Half the 95 % interval of a mean over inputs; 0 for one."""
    if len(values) < 2:
        return 0.0
    return _STUDENT.get(len(values), 1.96) * float(np.std(values, ddof=1)) / math.sqrt(len(values))


def iterate(operator: Operator, start: Array, *, steps: int, seed: int) -> Asymptotics:
    """Apply `operator` up to `steps` times to `start`, shape (K, N), and to partners a thousandth away from it.

    The first half of the steps is transient. It ends early where every state stands still and every pair has met, or
    where a signal runs away.
    """
    rng = np.random.default_rng(seed)
    state = start
    tangent = _unit(rng.standard_normal(state.shape), rng)
    partner = state + NEARBY * np.linalg.norm(state, axis=1, keepdims=True) * tangent
    history = _History(operator.precision, np.linalg.norm(partner - state, axis=1) / math.sqrt(state.shape[1]))
    for _ in range(steps):
        step = operator(state, partner, tangent)
        if not all(map(_is_sane, (step.state, step.partner))):
            return history.result(diverged=True)
        history.add(state, step)
        if history.is_over():
            break
        state, partner, tangent = step.state, step.partner, _unit(step.tangent, rng)
    return history.result(diverged=False)


class _History:
    """What every step showed, as arrays of shape (K,)."""

    def __init__(self, precision: float, begun: Array) -> None:
        self._begun = begun
        self._growths: list[Array] = []
        self._distances: list[Array] = []
        self._strengths: list[Array] = []
        self._jacobians: list[Array] = []
        self._moved: list[Array] = []
        self._precision = precision

    def add(self, before: Array, step: Step) -> None:
        root = math.sqrt(before.shape[1])
        self._growths.append(np.log(np.maximum(np.linalg.norm(step.tangent, axis=1), _VANISHED)))
        self._distances.append(np.linalg.norm(step.state - step.partner, axis=1) / root)
        self._strengths.append(step.strength)
        self._moved.append(np.linalg.norm(step.state - before, axis=1) / root)
        if step.jacobian is not None:
            self._jacobians.append(step.jacobian)

    def is_over(self) -> bool:
        """Whether nothing will change any more: the last ten steps stood still and the pairs have met."""
        if len(self._moved) < 20:
            return False
        least = 1e3 * self._precision * self._strengths[-1] + _GONE
        still = all(bool(np.all(moved <= least)) for moved in self._moved[-10:])
        return still and bool(np.all(self._distances[-1] <= least))

    def result(self, *, diverged: bool) -> Asymptotics:
        count = len(self._growths)
        if not count:
            return Asymptotics((), (), (), (), (), (), 0.0, 0, diverged=True)
        half = slice(count // 2, None)
        growths = np.array(self._growths)[half]
        strengths = np.array(self._strengths)[half]
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log(strengths)
            jacobians = 0.5 * np.log(np.array(self._jacobians)[half]).mean(axis=0) if self._jacobians else np.zeros(0)
        growth, steadily = _growth(logs)
        moved = np.array(self._moved)[-10:].max(axis=0)
        return Asymptotics(
            exponents=_numbers(growths.mean(axis=0)),
            distances=_numbers(np.sqrt(np.square(np.array(self._distances)[half]).mean(axis=0))),
            begun=_numbers(self._begun),
            strengths=_numbers(np.sqrt(np.square(strengths).mean(axis=0))),
            jacobians=_numbers(np.exp(jacobians)),
            fixed=tuple(
                bool(far <= 1e3 * self._precision * near + _GONE)
                for far, near in zip(moved, strengths[-1], strict=True)
            ),
            growth=growth,
            steps=count,
            diverged=diverged or steadily,
        )


def _growth(logs: Array) -> tuple[float, bool]:
    """Slope per step of `logs`, shape (steps, K), and whether every input shows a steady rise."""
    if len(logs) < 3 or not np.all(np.isfinite(logs)):
        return 0.0, False
    times = np.arange(len(logs)) - (len(logs) - 1) / 2.0
    slopes = times @ logs / float(times @ times)
    rests = np.std(logs - logs.mean(axis=0) - np.outer(times, slopes), axis=0)
    rises = slopes * (len(logs) - 1)
    return float(slopes.mean()), bool(np.all(rises > np.maximum(_RISE, _RISE_TO_REST * rests)))


def _unit(directions: Array, rng: np.random.Generator) -> Array:
    """Every row with norm 1; a row that has vanished starts anew in a random direction."""
    norms = np.linalg.norm(directions, axis=1, keepdims=True)
    if not np.all(norms > _VANISHED):
        directions = np.where(norms > _VANISHED, directions, rng.standard_normal(directions.shape))
        norms = np.linalg.norm(directions, axis=1, keepdims=True)
    return np.asarray(directions / norms)


def _is_sane(state: Array) -> bool:
    return bool(np.all(np.isfinite(state))) and bool(np.all(np.abs(state) < _RUN_AWAY))


def _numbers(values: Array) -> tuple[float, ...]:
    return tuple(map(float, values))
