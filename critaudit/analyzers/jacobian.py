"""Jacobian: how small changes and gradients grow through layers, blocks and the whole running network."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from critaudit.analyzers.base import Analyzer, Measurements, NetworkMeasurements, Settings
from critaudit.dynamics.jacobian import (
    BlockJacobian,
    BlockSpectrum,
    Estimate,
    NetworkJacobians,
    NotDifferentiableError,
    block_jacobians,
)
from critaudit.dynamics.jacobian.dense import dense_layers
from critaudit.dynamics.running import CannotRunError, running
from critaudit.measurement import Measurement, measured, not_applicable, undetermined
from critaudit.model import ModelView
from critaudit.report.record import Finding, Layer

# A gradient that shrinks or grows by more than this from the last block to the first starves or upsets one of them.
_FAR = 1e3
_NORM = "‖J‖²/n with n outputs (Doshi, He & Gromov 2021) by Hutchinson's estimator"


def _network(view: ModelView, settings: Settings, layers: Sequence[Layer]) -> NetworkMeasurements:
    assert view.runnable is not None
    samples = settings.samples if settings.inputs is None else len(settings.inputs)
    dense: dict[str, Measurements] = {}
    try:
        with running(
            view.runnable, inputs=settings.inputs, samples=samples, seed=settings.seed, device=settings.device
        ) as network:
            dense = dense_layers(network, view, layers, samples=samples)
            model = block_measurements(block_jacobians(network), network.method)
    except (CannotRunError, NotDifferentiableError) as error:
        model = {"jacobian.status": undetermined(str(error))}
    return NetworkMeasurements(dense, model)


def block_measurements(found: NetworkJacobians, inputs: str) -> Measurements:
    """The model's measurements: series over the blocks, and what they come to from end to end."""
    if not found.samples:
        reason = "the network's signals or derivatives are NaN or infinite at every input"
        return {"jacobian.status": undetermined(reason, n=found.non_finite)}
    probes = found.plan.probes
    left_out = f"; {found.non_finite} more inputs gave NaN or infinity and are left out" if found.non_finite else ""
    norms = f"{_NORM}, {probes} random vector{'s' if probes > 1 else ''} per input; {inputs}{left_out}"
    measurements: Measurements = {
        "jacobian.blocks": measured(tuple(block.name for block in found.blocks), method=_cuts(found)),
        "jacobian.block_count": measured(len(found.blocks), method=_cuts(found)),
    }
    for name, pick in _NORMS:
        measurements |= _series(name, [pick(block) for block in found.blocks], found.samples, norms)
    return measurements | _end_to_end(found, norms) | _spectra(found)


def _cuts(found: NetworkJacobians) -> str:
    if found.are_modules:
        return "blocks: modules that repeat, hold at least two weight layers and hold no others that do"
    return "no repeated modules: a block is the way from one weight layer's input to that of the next"


def _end_to_end(found: NetworkJacobians, method: str) -> Measurements:
    start = "the first block's input (the network's own has no derivative)" if found.starts_inside else "the input"
    tangent = "single random tangents" if found.is_forward else "single random gradients (no second derivative exists)"
    from_to = "from the first block's input to the last one's output, per block"
    return {
        "jacobian.end_to_end": _scalar(found.end_to_end, f"‖J‖/√n from {start} to the output; {method}"),
        "jacobian.gradient_ratio": _scalar(
            found.gradient_ratio,
            f"gradient's norm at the first block's input over that behind the last one; {method}",
            "no gradient comes from the output to the last block (a head of zeros?), or none from there to the first",
        ),
        "jacobian.growth_per_block": _scalar(found.growth_per_block, f"½ ln of mean square growth {from_to}; {method}"),
        "jacobian.lyapunov": _scalar(found.lyapunov, f"mean ln growth of {tangent} {from_to}; {method}"),
    }


def _spectra(found: NetworkJacobians) -> Measurements:
    """Series over the blocks whose spectra were had, and their means."""
    spectra = [block.spectrum for block in found.blocks]
    held = [spectrum for spectrum in spectra if spectrum is not None]
    if not held:
        reason = next((block.reason for block in found.blocks if block.reason), "no block has a spectrum")
        return {"jacobian.block_mean_log_mean": undetermined(reason)}
    samples = max(spectrum.samples for spectrum in held)
    method = _spectral_method(found, held)
    measurements: Measurements = {}
    for name, pick in _SPECTRA:
        values = [None if spectrum is None else pick(spectrum) for spectrum in spectra]
        if any(value is not None for value in values):
            measurements |= _series(name, values, samples, method)
    logs = [spectrum.mean_log.value for spectrum in held if spectrum.mean_log is not None]
    shares = [spectrum.expanding.value for spectrum in held]
    missing = next((spectrum.reason for spectrum in held if spectrum.mean_log is None), None)
    over = f"mean over blocks, interval: their range; {method}"
    if logs:
        left_out = f"{len(held) - len(logs)} of {len(held)} blocks are left out: {missing}" if missing else None
        measurements["jacobian.block_mean_log_mean"] = _range(logs, over, left_out)
    else:
        measurements["jacobian.block_mean_log_mean"] = undetermined(missing or "no block has one", n=0, method=method)
    measurements["jacobian.block_expanding_mean"] = _range(shares, over)
    top = max(held, key=lambda spectrum: spectrum.top.value)
    measurements["jacobian.block_top_max"] = measured(
        top.top.value,
        interval=top.top.interval,
        n=samples,
        method=f"largest singular value of any block, by ARPACK (relative residual {top.top_residual:.1g}); {method}",
    )
    return measurements | {"jacobian.block_radius_max": _radius(found, held)}


def _radius(found: NetworkJacobians, held: Sequence[BlockSpectrum]) -> Measurement:
    """The largest spectral radius of any block, or why there is none."""
    radii = [spectrum.radius for spectrum in held if spectrum.radius is not None]
    method = (
        "largest |λ| of any block that keeps its shape, by Arnoldi iteration (small blocks by LAPACK); eigenvalues of "
        "operators far from normal move under tiny changes, and growth over a few blocks is ruled by singular values"
    )
    if radii:
        top = max(radii, key=lambda radius: radius.value)
        return measured(top.value, interval=top.interval, n=top.n, method=method)
    if not any(block.keeps_shape for block in found.blocks):
        return not_applicable("no block keeps its shape: a Jacobian that is not square has no eigenvalues")
    if not found.plan.effort.radius_restarts:
        return undetermined("the network is large: Arnoldi iteration would take longer than an audit should")
    return undetermined("Arnoldi iteration did not converge in any block", method=method)


def _spectral_method(found: NetworkJacobians, held: list[BlockSpectrum]) -> str:
    steps = {spectrum.steps for spectrum in held if spectrum.steps is not None}
    how = f"Lanczos quadrature of up to {max(steps)} steps" if steps else "matrices written out"
    if steps and any(spectrum.steps is None for spectrum in held):
        how += "; small ones written out"
    before = any(block.ends_in_nonlinearity for block in found.blocks)
    what = "singular values of I + J_branch, before the nonlinearity that ends a block" if before else "singular values"
    return f"{what}: {how}"


def _series(name: str, values: Sequence[Estimate | None], n: int, method: str) -> Measurements:
    """A series over the blocks that have the quantity: values, ends of their intervals, the blocks' numbers from 1."""
    held = [(place, value) for place, value in enumerate(values, start=1) if value is not None]
    if not held:
        return {name: not_applicable("no path leads from block to block")}
    ends = [value.interval or (value.value, value.value) for _, value in held]
    return {
        name: measured(tuple(value.value for _, value in held), n=n, method=method),
        f"{name}_low": measured(tuple(low for low, _ in ends), n=n),
        f"{name}_high": measured(tuple(high for _, high in ends), n=n),
        f"{name}_places": measured(tuple(float(place) for place, _ in held), n=n),
    }


def _scalar(found: Estimate | None, method: str, missing: str = "no path leads from end to end") -> Measurement:
    if found is None or not math.isfinite(found.value):
        return undetermined(missing, method=method)
    return measured(found.value, interval=found.interval, n=found.n, method=method)


def _range(values: list[float], method: str, reason: str | None = None) -> Measurement:
    mean = sum(values) / len(values)
    return measured(mean, interval=(min(values), max(values)), n=len(values), method=method, reason=reason)


_NORMS: tuple[tuple[str, Callable[[BlockJacobian], Estimate | None]], ...] = (
    ("jacobian.block_norm", lambda block: block.norm),
    ("jacobian.partial_norm", lambda block: block.signal),
    ("jacobian.gradient_norm", lambda block: block.gradient),
)
_SPECTRA: tuple[tuple[str, Callable[[BlockSpectrum], Estimate | None]], ...] = (
    ("jacobian.block_top", lambda spectrum: spectrum.top),
    ("jacobian.block_mean_log", lambda spectrum: spectrum.mean_log),
    ("jacobian.block_expanding", lambda spectrum: spectrum.expanding),
    ("jacobian.block_live", lambda spectrum: Estimate(spectrum.live, None, spectrum.samples)),
    ("jacobian.block_radius", lambda spectrum: spectrum.radius),
)


def _find(_layers: Sequence[Layer], model: Measurements) -> Iterator[Finding]:
    names, norms = model.get("jacobian.blocks"), model.get("jacobian.block_norm")
    if names is not None and norms is not None and isinstance(names.value, tuple) and isinstance(norms.value, tuple):
        cut = [name for name, norm in zip(names.value, norms.value, strict=False) if norm == 0.0]
        if cut:
            yield Finding(
                "jacobian.cut",
                "problem",
                None,
                f"No gradient passes through {len(cut)} of {len(norms.value)} blocks (the first: “{cut[0]}”).",
                ("jacobian.block_norm",),
                "Seen at this audit's inputs: other inputs may reach units that are off here.",
            )
    ratio = model.get("jacobian.gradient_ratio")
    if ratio is None or ratio.number is None:
        return
    low, high = ratio.interval or (ratio.number, ratio.number)
    if high < 1 / _FAR or low > _FAR:
        word, effect = ("vanishing", "shrinks") if high < 1 / _FAR else ("exploding", "grows")
        factor = ratio.number if ratio.number > 1 else 1 / ratio.number if ratio.number > 0 else float("inf")
        count = model["jacobian.block_count"].value
        yield Finding(
            f"jacobian.{word}",
            "warning",
            None,
            f"On its way back through {count} blocks a gradient {effect} {factor:.3g} times: first and last blocks "
            "cannot both learn well at one learning rate.",
            ("jacobian.gradient_ratio", "jacobian.gradient_norm"),
            "Optimisers that rescale gradients (Adam) and normalisation layers before each block make up for much of "
            "it; with synthetic inputs this is the network's response to noise.",
        )


JACOBIAN = Analyzer(
    id="jacobian",
    title="Jacobians of layers and blocks",
    why="The Jacobian says how a small change of the signal, and a gradient on its way back, grows in every block.",
    requires="network",
    network=_network,
    find=_find,
)
