"""Efficiency, speed and calibration of critaudit.laws.fit_stable, side by side with its peers.

    python benchmarks/stable_fit.py [--replicates 300] [--quick]     efficiency, times, peers
    python benchmarks/stable_fit.py --critical [--replicates 2000]   95 % points of the likelihood ratio at α = 2

Peers: `levy` (PyPI: levy-stable 2.0) and scipy.stats.levy_stable; one that is not installed is named as missing, and
scipy's own fit, which would take days, is timed by one evaluation of its log-density on a few points.
"""

from __future__ import annotations

import argparse
import importlib.util
import math
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from critaudit.laws.binning import bin_values
from critaudit.laws.stable import fit_stable, gaussian_likelihood_ratio
from critaudit.laws.stable_likelihood import Sample, slope
from critaudit.laws.stable_table import jet, tiles

ALPHAS = (1.0, 1.2, 1.5, 1.8, 1.95)


def draw(rng: np.random.Generator, alpha: float, beta: float, n: int) -> NDArray[np.float64]:
    """n standard stable numbers in S1 (Chambers, Mallows & Stuck 1976)."""
    angle, waiting = rng.uniform(-math.pi / 2, math.pi / 2, n), rng.exponential(size=n)
    if alpha == 1:
        lean = math.pi / 2 + beta * angle
        return 2 / math.pi * (lean * np.tan(angle) - beta * np.log(math.pi / 2 * waiting * np.cos(angle) / lean))
    skew = beta * math.tan(math.pi * alpha / 2)
    turned = alpha * angle + math.atan(skew)
    scale = (1 + skew**2) ** (1 / (2 * alpha))
    left = np.sin(turned) / np.cos(angle) ** (1 / alpha)
    return scale * left * (np.cos(angle - turned) / waiting) ** ((1 - alpha) / alpha)


def cramer_rao(alpha: float) -> float:
    """√n times the smallest standard error of α (β = 0, four parameters), by integrating the squared score."""
    y = np.sinh(np.linspace(-18, 18, 40001)) * 0.3
    weights = np.gradient(y)
    theta = np.array([math.log(2 - alpha), 0.0, 0.0, 0.0])
    density = np.exp(jet(y, alpha, 0.0).value)
    scoring = slope(Sample(y, weights * density, float(weights @ density)), theta).scoring
    return float((2 - alpha) * math.sqrt(np.linalg.inv(scoring)[0, 0]))


def efficiency(replicates: int, n: int = 10_000) -> None:
    """Root mean square error of α over the Cramér–Rao bound, and coverage of the 95 % profile interval."""
    print(f"RMSE of alpha over Cramér–Rao, n = {n}, {replicates} replicates (β = 0)")
    for index, alpha in enumerate(ALPHAS):
        rng = np.random.default_rng([2203, index])
        fits = [fit_stable(draw(rng, alpha, 0.0, n).astype(np.float32)) for _ in range(replicates)]
        errors = np.array([fit.alpha - alpha for fit in fits])
        root_n_bound = cramer_rao(alpha)
        bound = root_n_bound / math.sqrt(n)
        efficiency = np.sqrt(np.mean(errors**2)) / bound
        covered = np.mean([fit.alpha_interval[0] <= alpha <= fit.alpha_interval[1] for fit in fits])
        print(
            f"  alpha {alpha:4.2f}: sqrt(n)*bound {root_n_bound:.3f}  RMSE/bound {efficiency:.3f}"
            f"  bias/bound {errors.mean() / bound:+.3f}  interval covers {covered:.3f}"
        )


def best_of(function: Callable[[], object], repeats: int = 7) -> tuple[float, float]:
    """Shortest wall and processor time in seconds; they differ where the machine is shared."""
    times = []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        function()
        times.append((time.perf_counter() - start, time.process_time() - used))
    wall, processor = zip(*times, strict=True)
    return min(wall), min(processor)


def shown(times: tuple[float, float]) -> str:
    """Both times in milliseconds."""
    return f"{times[0] * 1e3:.1f} ms wall, {times[1] * 1e3:.1f} ms processor"


def speed(*, quick: bool) -> None:
    """Wall time of whole fits with standard errors and the profile interval, one core."""
    rng = np.random.default_rng(1)
    tiles()
    print("time of fit_stable with standard errors and profile interval")
    small = 0.0
    for alpha in (1.2, 1.8, 2.0):
        values = (0.02 * draw(rng, alpha, 0.0, 650_000)).astype(np.float32)
        seconds = best_of(lambda values=values: fit_stable(values))  # type: ignore[misc]
        binning = best_of(lambda values=values: bin_values(values))  # type: ignore[misc]
        small = seconds[1] if alpha == 1.2 else small
        print(f"  6.5e5 float32, alpha {alpha}: {shown(seconds)} (binning: {shown(binning)}); limit 30 ms")
    if not quick:
        values = np.resize((0.02 * draw(rng, 1.5, 0.0, 4_000_000)).astype(np.float32), 24_000_000)
        print(f"  2.4e7 float32, alpha 1.5: {shown(best_of(lambda: fit_stable(values), 5))}; limit 150 ms")
    peers(draw(rng, 1.2, 0.0, 650_000), small, quick=quick)


def peers(values: NDArray[np.float64], ours: float, *, quick: bool) -> None:
    """The same fit by other packages; a sample is timed where the whole would take too long."""
    if importlib.util.find_spec("levy") is None:
        print("  levy-stable 2.0 (module levy): not installed here, not compared")
    else:
        import levy

        part = values[:: 65 if quick else 1]
        seconds = best_of(lambda: levy.fit_levy(part), 1)[1] * values.size / part.size
        how = "extrapolated from 1e4 entries" if quick else "measured"
        print(f"  levy-stable 2.0 fit on 6.5e5 entries: {seconds:.0f} s processor ({how}); ratio {seconds / ours:,.0f}")
    from scipy.stats import levy_stable

    sample = values[:50]
    each = best_of(lambda: levy_stable.logpdf(sample, 1.2, 0.1), 1)[0] / sample.size
    estimate = each * values.size * 200
    print(f"  scipy levy_stable: {each * 1e3:.2f} ms per density; a fit of 200 evaluations ≈ {estimate / 3600:.1f} h")


def critical(replicates: int) -> None:
    """95 % points of the likelihood ratio under the Gaussian, and how often α̂ = 2."""
    print(f"likelihood ratio of stable against Gaussian under the Gaussian, {replicates} replicates per n")
    for index, n in enumerate((30, 100, 300, 1_000, 10_000, 100_000, 1_000_000)):
        rng = np.random.default_rng([509, index])
        count = replicates if n <= 100_000 else replicates // 2
        ratios = np.array([gaussian_likelihood_ratio(rng.standard_normal(n, dtype=np.float32)) for _ in range(count)])
        at_two = np.mean(ratios < 1e-3)
        points = np.quantile(ratios, [0.9, 0.95, 0.99])
        print(
            f"  n {n:8d}: P(alpha = 2) {at_two:.3f}; 90, 95, 99 % points {np.array2string(points, precision=3)}",
            flush=True,
        )


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--replicates", type=int)
    parser.add_argument("--quick", action="store_true", help="small samples for the slow peers")
    parser.add_argument("--critical", action="store_true", help="simulate the critical values at alpha = 2")
    arguments = parser.parse_args()
    if arguments.critical:
        critical(arguments.replicates or 2000)
        return
    speed(quick=arguments.quick)
    efficiency(arguments.replicates or 300)


if __name__ == "__main__":
    main()
