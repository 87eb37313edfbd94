"""How often avalanche exponents and verdicts are right: `python reports/calibration/avalanches.py [--workers 2]`.

Draws avalanches whose law is known exactly, asks critaudit for what a user would see, and writes `avalanches.md` beside
this file: coverage of the 95 % intervals, with and without correlated clusters; how often laws that are no power laws
are called one; and for critical branching processes the joint exponents, the crackling relation and the classes.
"""

from __future__ import annotations

import argparse
import datetime
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from threadpoolctl import threadpool_limits

from critaudit import __version__
from critaudit.laws.crackling.distribution import fit_distribution
from critaudit.laws.crackling.estimation import estimate
from critaudit.laws.crackling.histogram import Histogram, duration_histogram, size_histogram
from critaudit.laws.crackling.records import LAGS, PROFILE_DURATIONS, AvalancheCounts, ProfileSums
from critaudit.laws.crackling.results import Crackling, Estimate, PowerLaw
from critaudit.laws.crackling.tally import from_avalanches
from critaudit.laws.crackling.verdict import GREATEST_DRIFT, LEAST_DECADES, SYSTEMATIC_FLOOR, is_power_law
from critaudit.laws.power_law import truncated_power_law

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Quantile = Callable[[Array], Array]
SEED = 20263
RUNS = 200
CLUSTERS = 100
RESAMPLES = 200
AVALANCHES = 20_000
NORMAL_95 = 1.959963984540054
# The share of a cluster's avalanches in what drives them all, as a correlation of their normal scores.
CLUSTERED = 0.03


def main() -> None:
    """Run the study and write its report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the runs, printed and not written")
    parser.add_argument("--workers", type=int, default=1, help="processes; the figures do not depend on it")
    arguments = parser.parse_args()
    part = 0.1 if arguments.quick else 1.0
    runs = round(part * RUNS)
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        # The longest first; the order of the page is another.
        sections = [
            [pool.submit(_timed, _by_number, process, part) for process in range(len(PROCESSES))],
            [pool.submit(_timed, _false_laws, runs)],
            [pool.submit(_timed, _process, process, runs) for process in range(len(PROCESSES))],
            [pool.submit(_timed, _coverage, runs)],
            [pool.submit(_timed, _recovered)],
        ]
        by_number, *others = [[future.result() for future in section] for section in sections]
    seconds = sum(done[1] for section in (by_number, *others) for done in section)
    lines = [line for section in reversed(others) for done in section for line in done[0]]
    lines = [*lines, *_outside(lines), *_numbers([done[0] for done in by_number])]
    text = "\n".join([*_head(seconds, runs), *lines])
    if arguments.quick:
        print(text)
        return
    target = Path(__file__).with_suffix(".md")
    target.write_text(text, encoding="utf-8")
    print(f"written: {target.name} after {seconds:.0f} s of processor time")


LEAST_COVERED, MOST_COVERED = 90.0, 98.0


def _outside(lines: Sequence[str]) -> list[str]:
    """The rows whose intervals cover less or more often than is asked for, and why."""
    few, many = [], []
    title, columns = "", list[str]()
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("## "):
            title, columns = line[3:], []
        elif "interval covers" in cells:
            columns = cells
        elif columns and line.startswith("| "):
            place = columns.index("interval covers")
            covered, bare = float(cells[place].split()[0]), float(cells[place + 1])
            name = f"{cells[0]}, {cells[1]}" if columns[0] == "law" else f"{cells[0]} of “{title}”"
            told = f"{name}: {covered:.1f} % ({bare:.1f} % unstretched)"
            if covered < LEAST_COVERED:
                few.append(told)
            if covered > MOST_COVERED:
                many.append(told)
    return [
        f"## Intervals that cover less than {LEAST_COVERED:.0f} or more than {MOST_COVERED:.0f} %",
        "",
        f"Too narrow: {'; '.join(few) or 'none'}.",
        "",
        f"Too wide: {'; '.join(many) or 'none'}.",
        "",
        "An interval is stretched to contain the plain value, which is what is shown. That makes it wider than need be "
        "where the plain and the corrected value err to opposite sides, and it saves pure laws on short ranges, whose "
        "corrected exponents scatter more than resamples of the clusters say (the range was searched). Sizes of walks "
        "at integer times approach their law as S^−1/3, which the correction S^−1/2 takes up in part, and the dozen "
        "curves of a collapse can hold one correction only (*bias of the middle*). The branching ratio rests on the "
        "squares of few large avalanches.",
        "",
    ]


def _timed(of: Callable[..., list[str]], *arguments: object) -> tuple[list[str], float]:
    started = time.process_time()
    with threadpool_limits(1):
        lines = of(*arguments)
    print("\n".join(lines), file=sys.stderr, flush=True)
    return lines, time.process_time() - started


def _head(seconds: float, runs: int) -> list[str]:
    versions = f"critaudit {__version__}, NumPy {np.__version__}, Python {sys.version.split()[0]}"
    return [
        "# Calibration of avalanche exponents and verdicts",
        "",
        f"`python reports/calibration/avalanches.py`, seed {SEED}, {datetime.date.today().isoformat()}, {versions}; "
        f"{seconds:.0f} s of processor time on one thread.",
        "",
        f"{runs} ensembles per row, each of {CLUSTERS} clusters (networks) and, unless said otherwise, {AVALANCHES:,} "
        f"avalanches; {RESAMPLES} bootstrap resamples of the clusters; the range is searched in every run. "
        f"*Correlated*: the normal scores of avalanches of one network are correlated by {CLUSTERED}. Shares in per "
        "cent with 95 % intervals (Wilson).",
        "",
    ]


@dataclass(frozen=True)
class Law:
    """A law to draw from by its quantile function, with its exponent where it has one."""

    name: str
    quantile: Quantile
    exponent: float | None = None
    discrete: bool = False


def power(exponent: float, low: float, high: float) -> Quantile:
    b = 1.0 - exponent
    return lambda u: np.asarray((low**b + u * (high**b - low**b)) ** (1.0 / b))


def tabulated(log_density: Callable[[Array], Array], low: float, high: float) -> Quantile:
    """The quantile function of a density on [low, high], from 100,000 points even in ln x."""
    t = np.linspace(math.log(low), math.log(high), 100_001)
    middles = 0.5 * (t[:-1] + t[1:])
    masses = np.exp(log_density(np.exp(middles)) + middles)
    cumulated = np.append(0.0, np.cumsum(masses)) / masses.sum()
    return lambda u: np.exp(np.interp(u, cumulated, t))


def zeta(exponent: float, depth: int) -> Quantile:
    """Integers with p(k) ∝ k^−exponent; `depth` stands for all that is longer than it."""
    masses = np.arange(1.0, 50.0 * depth) ** -exponent
    cumulated = np.cumsum(masses) / masses.sum()
    return lambda u: np.minimum(np.searchsorted(cumulated, u) + 1.0, depth)


def with_body(x: Array) -> Array:
    """ln p of a power law 1.5 from x = 20 to 20,000, that bends down smoothly below and is cut off sharply above."""
    return -1.5 * np.log(x) - np.square(np.maximum(np.log(20.0 / x), 0.0))


DEPTH = 2000
POWER_LAWS = (
    Law("pure, τ = 1.4 on [5, 400]", power(1.4, 5.0, 400.0), 1.4),
    Law("pure, τ = 1.8 on [1, 10⁵]", power(1.8, 1.0, 1e5), 1.8),
    Law("bent below 20, cut at 2·10⁴, τ = 1.5", tabulated(with_body, 1.0, 2e4), 1.5),
    Law("cut-off e^{−x/1000}, τ = 1.5", tabulated(lambda x: -1.5 * np.log(x) - x / 1000.0, 1.0, 2e4), 1.5),
    Law("correction 1 − 0.5/x, τ = 1.3", tabulated(lambda x: -1.3 * np.log(x) + np.log1p(-0.5 / x), 1.0, 1e4), 1.3),
    Law("durations, α = 2, censored at 2,000", zeta(2.0, DEPTH), 2.0, discrete=True),
)
OTHER_LAWS = (
    Law("lognormal, σ = 1", lambda u: np.exp(_scores(u))),
    Law("lognormal, σ = 2", lambda u: np.exp(2.0 * _scores(u))),
    Law("lognormal, σ = 3", lambda u: np.exp(3.0 * _scores(u))),
    Law("lognormal, σ = 4", lambda u: np.exp(4.0 * _scores(u))),
    Law("exponential", lambda u: -100.0 * np.log1p(-u)),
    Law("stretched exponential, β = 0.5", lambda u: 100.0 * np.square(np.log1p(-u))),
    Law("geometric durations, mean 100", lambda u: np.ceil(np.log1p(-u) / math.log(0.99)), discrete=True),
    Law(
        "lognormal durations, σ = 1.5", lambda u: np.minimum(np.ceil(8.0 * np.exp(1.5 * _scores(u))), DEPTH), None, True
    ),
)


def _scores(u: Array) -> Array:
    from scipy.special import ndtri

    scores: Array = ndtri(np.clip(u, 1e-12, 1.0 - 1e-12))
    return scores


def uniform(rng: np.random.Generator, n: int, clusters: Integers, correlation: float) -> Array:
    """Uniform values, correlated within clusters through a Gaussian copula: each is uniform all the same."""
    shared = rng.standard_normal(CLUSTERS)[clusters]
    u: Array = ndtr(math.sqrt(correlation) * shared + math.sqrt(1.0 - correlation) * rng.standard_normal(n))
    return u


def histogram_of(law: Law, rng: np.random.Generator, n: int, correlation: float) -> Histogram:
    clusters = rng.integers(0, CLUSTERS, n)
    x = law.quantile(uniform(rng, n, clusters, correlation))
    if law.discrete:
        cut = x >= DEPTH
        ones = np.ones(n)
        return duration_histogram(
            from_avalanches(x, ones, ones, clusters, depth=DEPTH, censored=cut, cluster_count=CLUSTERS)
        )
    return size_histogram(from_avalanches(np.ones(n), x, x, clusters, depth=2, cluster_count=CLUSTERS).total)


def fitted(histogram: Histogram, rng: np.random.Generator) -> PowerLaw:
    drawn = rng.multinomial(CLUSTERS, np.full(CLUSTERS, 1.0 / CLUSTERS), size=RESAMPLES)
    weights = np.concatenate([np.ones((1, CLUSTERS)), drawn])
    return fit_distribution("sizes", histogram, weights, CLUSTERS, rng, checked=False)[0]


def _recovered() -> list[str]:
    """The exponent on a given range, and what the `powerlaw` package makes of the same values."""
    rng = np.random.default_rng(SEED)
    x = power(1.4, 5.0, 400.0)(rng.random(1_000_000))
    started = time.process_time()
    found = truncated_power_law(x, 5.0, 400.0, discrete=False)
    seconds = time.process_time() - started
    import powerlaw

    fit = powerlaw.Fit(x[:20_000], xmin=5.0, xmax=400.0, verbose=False)
    return [
        "## A given range",
        "",
        f"τ = 1.40 on [5, 400], 10⁶ values: {found.exponent:.4f} ± {found.standard_error:.4f} in {seconds:.2f} s. "
        f"`powerlaw` {powerlaw.__version__ if hasattr(powerlaw, '__version__') else ''} with `xmin=5, xmax=400` on "
        f"20,000 of them: {fit.power_law.alpha:.3f}.",
        "",
    ]


def _coverage(runs: int) -> list[str]:
    lines = [
        "## Coverage of the intervals",
        "",
        "The interval is that of `exponent`: bootstrap over clusters with corrections at both ends of the range, "
        "around the corrected exponent, stretched to contain the plain one. *Unstretched*: without the latter. "
        "*Formal*: 1.96 standard errors of independent values around the pure law's exponent, for comparison.",
        "",
        "| law | avalanches are | interval covers | unstretched | formal covers | half width | bias | decades | "
        "called a power law |",
        "|---|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for law in POWER_LAWS:
        for correlation in (0.0, CLUSTERED):
            lines.append(_covered(law, correlation, runs))
    return [*lines, ""]


def _covered(law: Law, correlation: float, runs: int) -> str:
    truth = law.exponent if law.exponent is not None else math.nan
    covered = bare = formal = called = 0
    halves, biases, decades = [], [], []
    for run in range(runs):
        rng = np.random.default_rng([SEED, run, *law.name.encode(), round(1e3 * correlation)])
        found = fitted(histogram_of(law, rng, AVALANCHES, correlation), rng)
        called += is_power_law(found)
        if found.fit is None or found.exponent is None or found.exponent.interval is None:
            continue
        low, high = found.exponent.interval
        covered += low <= truth <= high
        bare += _unstretched(found.exponent, truth)
        formal += abs(found.exponent.value - truth) <= NORMAL_95 * found.fit.standard_error
        halves.append(0.5 * (high - low))
        biases.append(found.exponent.value - truth)
        decades.append(found.fit.decades)
    kind = "correlated" if correlation else "independent"
    return (
        f"| {law.name} | {kind} | {_share(covered, runs)} | {100 * bare / runs:.1f} | {100 * formal / runs:.0f} | "
        f"{np.median(halves):.3f} | "
        f"{np.mean(biases):+.4f} | {np.median(decades):.2f} | {_share(called, runs)} |"
    )


def _unstretched(estimate: Estimate, truth: float) -> bool:
    """Whether the interval would cover if it were not stretched, at one end at most, to contain the plain value."""
    return estimate.unstretched is not None and estimate.unstretched[0] <= truth <= estimate.unstretched[1]


def _false_laws(runs: int) -> list[str]:
    lines = [
        "## Laws that are no power laws",
        "",
        f"*Called a power law*: {LEAST_DECADES} decades or more pass the tests, no other law fits them better, and the "
        f"tail exponent cannot change over them by more than {100 * GREATEST_DRIFT:.0f} % of itself, nor of how much a "
        "lognormal's does that has the same tail exponent and the same share of values above.",
        "",
        "| law | avalanches are | number | called a power law | longest range that passes, decades (median) |",
        "|---|---|--:|--:|--:|",
    ]
    for law in OTHER_LAWS:
        for n, correlation in ((2_000, 0.0), (AVALANCHES, 0.0), (AVALANCHES, CLUSTERED)):
            called, decades = 0, []
            for run in range(runs):
                rng = np.random.default_rng([SEED, run, *law.name.encode(), n, round(1e3 * correlation)])
                found = fitted(histogram_of(law, rng, n, correlation), rng)
                called += is_power_law(found)
                decades.append(0.0 if found.fit is None else found.fit.decades)
            kind = "correlated" if correlation else "independent"
            lines.append(f"| {law.name} | {kind} | {n:,} | {_share(called, runs)} | {np.median(decades):.2f} |")
    return [*lines, ""]


def branching_process(
    rng: np.random.Generator, n: int, *, clusters: int = CLUSTERS, depth: int = DEPTH
) -> AvalancheCounts:
    """Poisson branching processes at criticality from one ancestor: τ = 3/2, α = 2, 1/σνz = 2, m = 1, exactly.

    Sizes are integers; they are spread evenly over ±1/2, so that a law of real numbers can be fitted.
    """
    alive, activity = np.arange(n), np.ones(n, dtype=np.int64)
    path, layer, strength = [], [], []
    for step in range(depth):
        path.append(alive)
        layer.append(np.full(alive.size, step))
        strength.append(activity)
        activity = rng.poisson(activity)
        alive, activity = alive[activity > 0], activity[activity > 0]
        if alive.size == 0:
            break
    return _collected(path, layer, strength, rng, n, clusters, depth, spread=1.0, regressed=True)


def _collected(
    path: list[Integers],
    layer: list[Integers],
    strength: list[Array],
    rng: np.random.Generator,
    n: int,
    clusters: int,
    depth: int,
    *,
    spread: float,
    regressed: bool,
) -> AvalancheCounts:
    paths, layers = np.concatenate(path), np.concatenate(layer)
    s = np.concatenate(strength).astype(np.float64)
    lasting = np.bincount(paths, minlength=n)
    sizes = np.bincount(paths, weights=s, minlength=n) + spread * (rng.random(n) - 0.5)
    rows = rng.integers(0, clusters, n)
    cut = lasting >= depth
    counts = from_avalanches(lasting, sizes, sizes, rows, depth=depth, censored=cut, cluster_count=clusters)
    order = np.lexsort((layers, paths))
    paths, layers, s = paths[order], layers[order], s[order]
    return replace(
        counts,
        profiles=_profiles(lasting[paths], layers, s, depth),
        lags=_lags(paths, layers, s, rows[paths], clusters, depth) if regressed else counts.lags,
    )


def _profiles(lasting: Integers, layers: Integers, s: Array, depth: int) -> ProfileSums:
    longest = min(PROFILE_DURATIONS, depth - 1)
    sums = ProfileSums.zeros(longest)
    kept = lasting <= longest
    places = (lasting[kept] - 1) * longest + layers[kept]
    for array, values in ((sums.total, s), (sums.total_squares, s * s), (sums.excess, s), (sums.excess_squares, s * s)):
        array += np.bincount(places, weights=values[kept], minlength=longest**2).reshape(longest, longest)
    sums.counts[:] = np.bincount(lasting[kept & (layers == 0)] - 1, minlength=longest)
    return sums


def _lags(paths: Integers, layers: Integers, s: Array, rows: Integers, clusters: int, depth: int) -> Array:
    sums = np.zeros((clusters, LAGS, 6))
    for lag in range(1, LAGS + 1):
        later = np.zeros_like(s)
        same = paths[lag:] == paths[:-lag] if lag < s.size else np.zeros(0, dtype=bool)
        later[: same.size][same] = s[lag:][same]
        inside = layers + lag < depth
        x, y, row = s[inside], later[inside], rows[inside]
        for column, values in enumerate((np.ones_like(x), x, y, x * x, x * y, y * y)):
            sums[:, lag - 1, column] = np.bincount(row, weights=values, minlength=clusters)
    return sums


def random_walk(rng: np.random.Generator, n: int, *, clusters: int = CLUSTERS, depth: int = DEPTH) -> AvalancheCounts:
    """Gaussian random walks until they return below zero: τ = 4/3, α = 3/2, 1/σνz = 3/2 with no interaction at all."""
    alive, height = np.arange(n), np.abs(rng.standard_normal(n))
    path, layer, strength = [], [], []
    for step in range(depth):
        path.append(alive)
        layer.append(np.full(alive.size, step))
        strength.append(height)
        height = height + rng.standard_normal(height.size)
        alive, height = alive[height > 0.0], height[height > 0.0]
    return _collected(path, layer, strength, rng, n, clusters, depth, spread=0.0, regressed=False)


@dataclass(frozen=True)
class Process:
    """A process whose avalanches are known exactly."""

    title: str
    remark: str
    draw: Callable[[np.random.Generator, int], AvalancheCounts]
    exponents: tuple[float, float, float]
    branching: float | None
    row: str


PROCESSES = (
    Process(
        "Critical branching processes (Poisson)",
        "Durations approach their power law as ln n / n only.",
        branching_process,
        (1.5, 2.0, 2.0),
        1.0,
        "mean-field",
    ),
    Process(
        "Gaussian random walks until their first return",
        "No interaction, no critical point: what a null model looks like. Steps are discrete, so that sizes approach "
        "their power law slowly.",
        random_walk,
        (4.0 / 3.0, 1.5, 1.5),
        None,
        "Brownian",
    ),
)


def _process(place: int, runs: int) -> list[str]:
    process = PROCESSES[place]
    names = ("τ", "α", "1/σνz", "1/σνz by collapse", "branching ratio")
    exact = (*process.exponents, process.exponents[2], process.branching)
    truths = {name: truth for name, truth in zip(names, exact, strict=True) if truth is not None}
    found: dict[str, list[Estimate]] = {name: [] for name in truths}
    verdicts, nearest = Counter[str](), Counter[str]()
    held = right = 0
    for run in range(runs):
        rng = np.random.default_rng([SEED, run, 7])
        result = estimate(process.draw(rng, AVALANCHES), rng=rng, bootstrap=RESAMPLES, checked=False)
        scaling = result.excess
        slope = None if scaling.mean_size is None else scaling.mean_size.slope
        exponents = (scaling.size.exponent, result.duration.exponent, slope)
        for name, one in zip(names, (*exponents, scaling.collapse_exponent, result.branching_ratio), strict=True):
            if name in truths and one is not None and one.interval is not None:
                found[name].append(one)
        held += _holds(result)
        right += _right(result, process)
        nearest.update([scaling.classes[0].name.split(" (")[0] if scaling.classes else "none"])
        verdicts.update([result.verdict.kind])
    lines = [
        f"## {process.title}",
        "",
        f"{AVALANCHES:,} avalanches, those beyond {DEPTH:,} layers censored. {process.remark}",
        "",
        "| quantity | exact | interval covers | unstretched | median | bias | bias of the middle | half width |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for name, truth in truths.items():
        rows = np.array([(one.value, *(one.interval or (math.nan, math.nan)), one.corrected) for one in found[name]])
        bare = sum(_unstretched(one, truth) for one in found[name])
        covered = int(np.count_nonzero((rows[:, 1] <= truth) & (truth <= rows[:, 2])))
        lines.append(
            f"| {name} | {truth:.4g} | {_share(covered, runs)} | {100 * bare / runs:.1f} | "
            f"{np.median(rows[:, 0]):.4f} | {rows[:, 0].mean() - truth:+.4f} | {rows[:, 3].mean() - truth:+.4f} | "
            f"{np.median(rows[:, 2] - rows[:, 1]) / 2:.4f} |"
        )
    return [
        *lines,
        "",
        f"The crackling mismatch includes zero in {_share(held, runs)} %; the right class is not excluded in "
        f"{_share(right, runs)} %. Nearest class: {_counted(nearest)}. Verdicts: {_counted(verdicts)}.",
        "",
    ]


def _holds(result: Crackling) -> bool:
    """Whether the interval of the crackling mismatch includes zero."""
    mismatch = result.excess.mismatch
    return mismatch is not None and mismatch.interval is not None and mismatch.interval[0] == 0.0


def _right(result: Crackling, process: Process) -> bool:
    return any(process.row in row.name and not row.excluded for row in result.excess.classes)


# How many ensembles of how many avalanches, beside those of `AVALANCHES`; the systematic floor is read off the middle.
NUMBERS = ((5_000, 100), (200_000, 40), (1_000_000, 8))
FLOOR_FROM = 200_000


def _by_number(place: int, part: float) -> list[str]:
    """For one process, rows of what the verdict is for so many avalanches; the last: the systematic error left."""
    process = PROCESSES[place]
    lines, departure = [], ""
    for n, ensembles in NUMBERS:
        runs = max(2, round(part * ensembles))
        results = []
        for run in range(runs):
            rng = np.random.default_rng([SEED, run, 11, n])
            results.append(estimate(process.draw(rng, n), rng=rng, bootstrap=RESAMPLES, checked=False))
        verdicts = Counter(str(result.verdict.kind) for result in results)
        joint = [result for result in results if result.excess.centre is not None]
        right = sum(_right(result, process) for result in joint)
        held = sum(_holds(result) for result in joint)
        lines.append(
            f"| {process.title} | {n:,} | {runs} | {_share(verdicts['classes'], runs)} | "
            f"{_share(right, len(joint))} | {_share(held, len(joint))} | {_counted(verdicts)} |"
        )
        if n == FLOOR_FROM:
            centres = [np.asarray(result.excess.centre) - np.array(process.exponents) for result in joint]
            departure = _departure(process, centres)
    return [*lines, departure]


def _numbers(rows: Sequence[Sequence[str]]) -> list[str]:
    floor = ", ".join(f"{value:g}" for value in SYSTEMATIC_FLOOR)
    return [
        "## How many avalanches a verdict takes",
        "",
        f"As above with {AVALANCHES:,}. *Classes*: the verdict names classes that are not excluded. *Right*: the "
        "process's own is not excluded, where distances could be measured at all. *Relation*: the crackling mismatch "
        "includes zero.",
        "",
        "| process | avalanches | ensembles | classes | right | relation | verdicts |",
        "|---|--:|--:|--:|--:|--:|---|",
        *(line for process in rows for line in process[:-1]),
        "",
        "## The systematic floor",
        "",
        f"Mean departure of the centre from the exact values, over the ensembles of {FLOOR_FROM:,} avalanches above.",
        "",
        "| process | τ | α | 1/σνz |",
        "|---|--:|--:|--:|",
        *(process[-1] for process in rows),
        "",
        f"The floor in the distances from classes is {floor}.",
        "",
    ]


def _departure(process: Process, centres: list[Array]) -> str:
    left, errors = np.mean(centres, axis=0), np.std(centres, axis=0) / math.sqrt(max(1, len(centres) - 1))
    cells = " | ".join(f"{bias:+.3f} ± {error:.3f}" for bias, error in zip(left, errors, strict=True))
    return f"| {process.title} | {cells} |"


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in counter.most_common())


def _share(k: int, n: int) -> str:
    """A share in per cent with its Wilson interval."""
    middle, half = (
        (k + NORMAL_95**2 / 2) / (n + NORMAL_95**2),
        NORMAL_95 / (n + NORMAL_95**2) * math.sqrt(k * (n - k) / n + NORMAL_95**2 / 4),
    )
    return f"{100 * k / n:.1f} ({100 * max(0.0, middle - half):.1f}–{100 * min(1.0, middle + half):.1f})"


if __name__ == "__main__":
    main()
