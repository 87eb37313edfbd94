"""A report on simulated avalanches with exact power laws, for tests of figures and pages."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from critaudit.measurement import Measurement, measured
from critaudit.report import Report, SourceRecord
from tests.report.make import empty_report


def simulated_report() -> Report:
    """A report without a model that holds everything that the figures of avalanches show."""
    source = SourceRecord("avalanches of random networks", "simulation", None, None)
    return replace(empty_report(), model=crackling(), source=source)


def series(values: object) -> Measurement:
    return measured(tuple(float(value) for value in np.asarray(values, dtype=float).ravel()))


def crackling() -> dict[str, Measurement]:
    """Measurements of an ensemble with exact power laws: τ = 1.5, α = 2, slope 2."""
    rng = np.random.default_rng(0)
    s, d = np.geomspace(1e-6, 1e4, 40), np.geomspace(1.0, 1000.0, 20)
    cloud = rng.multivariate_normal([1.5, 2.0, 2.0], [[4e-4, 3e-4, 0], [3e-4, 9e-4, 0], [0, 0, 1e-4]], 200)
    places, durations = (np.arange(8) + 0.5) / 8, np.array([10.0, 100.0])
    before = durations[:, np.newaxis] * places * (1 - places)
    held = {
        # The plain fits lie off the centre of the cloud.
        "verdict": measured("classes not excluded", n=1000, reason="agrees"),
        "number": measured(1000),
        "tau": measured(1.5, interval=(1.45, 1.55)),
        "tau_excess": measured(1.42, interval=(1.42, 1.54)),
        "tau_excess_corrected": measured(1.5, interval=(1.46, 1.54)),
        "alpha": measured(1.9, interval=(1.9, 2.1)),
        "alpha_corrected": measured(2.0, interval=(1.9, 2.1)),
        "slope_excess": measured(1.9, interval=(1.9, 2.05)),
        "slope_excess_corrected": measured(2.0, interval=(1.95, 2.05)),
        "predicted_slope": measured(2.0),
        "dcc": measured(0.01, interval=(0.0, 0.1)),
        "collapse_exponent": measured(2.0),
        "collapse_error": measured(0.001),
        "size_decades": measured(3.0),
        "excess_decades": measured(3.0),
        "duration_decades": measured(2.0),
        "sizes": series(s),
        "size_density": series(s**-1.5),
        "size_fit": series([1.0, 1.0, 1e3, 1e3**-1.5]),
        "excess_sizes": series(s),
        "excess_density": series([0.0, *s[1:] ** -1.5]),
        "excess_fit": series([1.0, 1.0, 1e3, 1e3**-1.5]),
        "durations": series(d),
        "duration_density": series(d**-2.0),
        "duration_fit": series([5.0, 0.04, 500.0, 4e-6]),
        "mean_durations": series(d),
        "mean_size": series(d**2),
        "mean_size_low": series(0.9 * d**2),
        "mean_size_high": series(1.1 * d**2),
        "mean_size_fit": series([5.0, 25.0, 500.0, 250000.0]),
        "collapse_durations": series(durations),
        "collapse_places": series(places),
        "collapse_before": series(before),
        "collapse_after": series(before / durations[:, np.newaxis]),
        "cloud_tau": series(cloud[:, 0]),
        "cloud_alpha": series(cloud[:, 1]),
        "cloud_slope": series(cloud[:, 2]),
        "class_names": measured(("mean-field directed percolation (branching)", "Brownian <excursion>")),
        "class_tau": series([1.5, 4 / 3]),
        "class_alpha": series([2.0, 1.5]),
        "class_slope": series([2.0, 1.5]),
        "class_distances": series([0.3, 9.0]),
        "null_names": measured(("a linear network",)),
        "null_tau": series([1.29]),
        "null_alpha": series([1.5]),
        "null_slope": series([1.9]),
        "null_distances": series([20.0]),
    }
    return {f"avalanche.{name}": value for name, value in held.items()}
