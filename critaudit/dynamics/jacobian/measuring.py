"""The Jacobians of a running network's blocks: norms, growth and spectra over samples, with what they are worth."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from critaudit.dynamics.jacobian.blocks import find_blocks
from critaudit.dynamics.jacobian.budget import Budget, budget, forward_cost
from critaudit.dynamics.jacobian.estimates import Estimate, geometric, mean_square, mean_with_errors, per_block
from critaudit.dynamics.jacobian.growth import GrowthSample, grow
from critaudit.dynamics.jacobian.krylov import Effort, Spectrum, exact_spectrum, spectrum
from critaudit.dynamics.jacobian.operators import JacobianOperator, NotDifferentiableError
from critaudit.dynamics.jacobian.passage import BlockPoint, Passage, chain_of, pass_through
from critaudit.dynamics.jacobian.surroundings import differentiable, frozen
from critaudit.dynamics.running import Running

Numbers = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BlockSpectrum:
    """Singular values σ of a block's Jacobian, averaged over samples; for a residual block that of I + J_branch.

    `mean_log` is the mean of ln σ over the directions that live, equal to mean ln|λ| where the block keeps its shape
    and `live` is 1; `expanding` is the share of σ > 1 among them and `live` the share that is not identically zero.
    `top` is the largest σ, `radius` the largest |λ|. `steps` counts Krylov steps, None where the matrix was written
    out. `reason` says why `mean_log` is missing or what it leaves out.
    """

    top: Estimate
    top_residual: float
    mean_log: Estimate | None
    expanding: Estimate
    live: float
    radius: Estimate | None
    steps: int | None
    samples: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class BlockJacobian:
    """One block: its name, sizes, partial-Jacobian norms 𝒥 (see `growth`) and spectrum.

    `norm` is 𝒥 of the block alone, `signal` from the start of the network to its output, `gradient` from its input to
    the network's output; None where no path leads. `ends_in_nonlinearity` says that spectra are those of the sum before
    the nonlinearity that ends the block. `reason` says why there is no spectrum.
    """

    name: str
    inputs: int
    outputs: int
    keeps_shape: bool
    ends_in_nonlinearity: bool
    norm: Estimate | None
    signal: Estimate | None
    gradient: Estimate | None
    spectrum: BlockSpectrum | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class NetworkJacobians:
    """A network's blocks in the order in which they run, and its growth from end to end.

    `end_to_end` is √𝒥 from the network's start to its output; `gradient_ratio` the norm of a gradient at the first
    block's input over that at the last block's output; `growth_per_block` is ½ ln 𝒥 of a tangent from the first block's
    input to the last one's output, divided by the number of blocks, and `lyapunov` the mean logarithm of single
    tangents in its place (never larger). `are_modules` tells blocks from segments, `starts_inside` that the start is
    the first block's input because the network's has no derivative, `is_forward` how tangents were had.
    """

    blocks: tuple[BlockJacobian, ...]
    end_to_end: Estimate | None
    gradient_ratio: Estimate | None
    growth_per_block: Estimate | None
    lyapunov: Estimate | None
    are_modules: bool
    starts_inside: bool
    is_forward: bool
    samples: int
    non_finite: int
    plan: Budget


def block_jacobians(network: Running, *, samples: int | None = None, generosity: float = 1.0) -> NetworkJacobians:
    """Measure the blocks of a running network at the operating points of its samples.

    Belongs inside `running`. How many samples, probes and Krylov steps are used follows from the network's size
    (`budget`), times `generosity`, with at most `samples` samples (default: those of `network`).

    Raises NotDifferentiableError where the network has no block whose output depends on its input, or where a first
    derivative is missing; passes on what the network's forward pass raises.

    >>> with running(runnable, samples=4) as network:      # doctest: +SKIP
    ...     found = block_jacobians(network)
    >>> [block.norm.value for block in found.blocks]       # doctest: +SKIP
    """
    module = network.module
    wanted = network.count if samples is None else min(samples, network.count)
    first = next(iter(network.samples()))
    cost = forward_cost(module, first)
    plan = budget(cost, wanted, on_cuda=network.place.type == "cuda", generosity=generosity)
    blocks = find_blocks(module, first)
    grown: list[GrowthSample] = []
    spectra: list[list[tuple[Spectrum, float] | str]] = []
    passage: Passage | None = None
    with differentiable(module), frozen(module):
        for index, values in enumerate(itertools.islice(network.samples(), plan.samples)):
            passage = None  # the last sample's graph goes before the next one's comes
            passage = pass_through(module, values, blocks)
            blocks = chain_of(passage, blocks)
            grown.append(grow(passage, probes=plan.probes, seed=(network.seed, index)))
            if index < plan.spectral_samples and _is_finite(grown[-1]):
                spectra.append(_spectra(passage, plan, (network.seed, index)))
    assert passage is not None
    return _collected(passage, grown, spectra, plan, blocks.are_modules)


def _spectra(passage: Passage, plan: Budget, seed: tuple[int, int]) -> list[tuple[Spectrum, float] | str]:
    """Per block its spectrum and the share of live directions, or why there is none."""
    found: list[tuple[Spectrum, float] | str] = []
    for index, point in enumerate(passage.points):
        try:
            found.append(block_spectrum(point, plan, rng=np.random.default_rng([*seed, index])))
        except NotDifferentiableError as error:
            found.append(str(error))
    return found


def block_spectrum(point: BlockPoint, plan: Budget, *, rng: np.random.Generator) -> tuple[Spectrum, float]:
    """A block's singular values at one operating point, and the share of its directions that are not exactly zero.

    What is exactly zero in the images of random vectors is zero in all: the outputs behind a ReLU that is off. Raises
    NotDifferentiableError where it is NaN or infinite, or has no second derivative where that is needed.
    """
    operator = point.operator(branches=True)
    outputs, inputs = operator.shape
    smaller = min(outputs, inputs)
    if smaller <= plan.exact:
        found = exact_spectrum(_finite(operator.dense()), precision=operator.precision)
        return found, found.dimension / smaller
    probes = 4 if plan.effort.steps >= 32 else 2
    images = _finite(np.stack([operator.matvec(_normal(rng, inputs, operator)) for _ in range(probes)]))
    pulled = _finite(np.stack([operator.rmatvec(_normal(rng, outputs, operator)) for _ in range(2)]))
    live = np.any(images != 0, axis=0), np.any(pulled != 0, axis=0)
    scales = np.sqrt(np.mean(np.square(images, dtype=np.float64), axis=0)) if probes == 4 else None
    found = spectrum(
        operator.linear_operator(),
        rng=rng,
        effort=plan.effort if point.keeps_shape else _without_radius(plan.effort),
        live=live,
        scales=scales,
        precision=operator.precision,
    )
    return found, found.dimension / smaller


def _finite(values: NDArray[np.generic]) -> NDArray[np.generic]:
    if not np.isfinite(values).all():
        raise NotDifferentiableError("the Jacobian is NaN or infinite at this input")
    return values


def _normal(rng: np.random.Generator, size: int, operator: JacobianOperator) -> NDArray[np.generic]:
    return rng.standard_normal(size).astype(operator.dtype)


def _without_radius(effort: Effort) -> Effort:
    return Effort(effort.steps, effort.top_restarts, 0)


def _collected(
    passage: Passage,
    grown: list[GrowthSample],
    spectra: list[list[tuple[Spectrum, float] | str]],
    plan: Budget,
    are_modules: bool,
) -> NetworkJacobians:
    """All samples together; those with NaN or infinite norms are left out and counted."""
    # Another sample may take another way (early exits): only what the last one has in common with the others counts.
    kept = [sample for sample in grown if sample.block.shape[1] == len(passage.points) and _is_finite(sample)]
    norms = [per_block([getattr(sample, name) for sample in kept]) for name in ("block", "signal", "gradient")]
    blocks = []
    for index, point in enumerate(passage.points):
        of_block = [sample[index] for sample in spectra if index < len(sample)]
        numbers = [item for item in of_block if not isinstance(item, str)]
        reason = next((item for item in of_block if isinstance(item, str)), None)
        if not plan.spectral_samples:
            reason = "the network is large: spectra of its blocks would take longer than an audit should"
        blocks.append(
            BlockJacobian(
                name=point.name,
                inputs=point.x.numel(),
                outputs=point.y.numel(),
                keeps_shape=point.keeps_shape,
                ends_in_nonlinearity=point.ends_in_nonlinearity,
                norm=norms[0][index] if kept else None,
                signal=norms[1][index] if kept else None,
                gradient=norms[2][index] if kept else None,
                spectrum=_averaged(numbers) if numbers else None,
                reason=None if numbers else reason,
            )
        )
    length = len(blocks)
    squares = [np.exp(2.0 * sample.tangent) for sample in kept]
    ratios = [
        0.5 * (np.log(sample.gradient[:, 0].mean()) - np.log(sample.gradient_last.mean()))
        for sample in kept
        if sample.gradient[:, 0].mean() > 0 and sample.gradient_last.mean() > 0
    ]
    return NetworkJacobians(
        blocks=tuple(blocks),
        end_to_end=_mapped(mean_square([sample.signal_end for sample in kept]), math.sqrt),
        gradient_ratio=geometric(np.array(ratios)),
        growth_per_block=_mapped(mean_square(squares), lambda value: 0.5 * _log(value) / length),
        lyapunov=_mapped(mean_with_errors([sample.tangent for sample in kept]), lambda value: value / length),
        are_modules=are_modules,
        starts_inside=passage.starts_inside,
        is_forward=all(sample.is_forward for sample in grown),
        samples=len(kept),
        non_finite=len(grown) - len(kept),
        plan=plan,
    )


def _is_finite(sample: GrowthSample) -> bool:
    """Whether the norms that have to be there are: NaN stands for "no path", which a block's own norm never is."""
    paths = np.concatenate([sample.signal.ravel(), sample.gradient.ravel(), sample.signal_end, sample.gradient_last])
    return bool(np.isfinite(sample.block).all() and not np.isinf(paths).any())


def _averaged(found: list[tuple[Spectrum, float]]) -> BlockSpectrum:
    """One block's spectra of several samples."""
    spectra = [item for item, _ in found]
    settled = [item for item in spectra if item.mean_log is not None]
    radii = [item.radius for item in spectra if item.radius is not None]
    top = mean_with_errors([np.array([item.top]) for item in spectra])
    expanding = mean_with_errors(
        [np.array([item.expanding]) for item in spectra], [item.expanding_error for item in spectra]
    )
    assert top is not None
    assert expanding is not None
    mean_log = None
    if len(settled) == len(spectra):
        logs = [np.array([item.mean_log]) for item in settled]
        mean_log = mean_with_errors(logs, [item.mean_log_error for item in settled])
    return BlockSpectrum(
        top=top,
        top_residual=max(item.top_residual for item in spectra),
        mean_log=mean_log,
        expanding=expanding.map(lambda value: min(max(value, 0.0), 1.0)),
        live=float(np.mean([live for _, live in found])),
        radius=mean_with_errors([np.array([radius]) for radius in radii]),
        steps=spectra[0].steps,
        samples=len(spectra),
        reason=next((item.reason for item in spectra if item.reason is not None), None),
    )


def _mapped(found: Estimate | None, function: Callable[[float], float]) -> Estimate | None:
    return None if found is None else found.map(function)


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf
