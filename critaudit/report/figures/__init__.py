"""The report's figures (plotly), drawn from the record alone and only when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from critaudit.report.figures.asymptotic import asymptotic_by_depth
from critaudit.report.figures.avalanche_ensembles import (
    avalanche_map_size,
    avalanche_map_strength,
    avalanche_map_susceptibility,
    avalanche_widths,
)
from critaudit.report.figures.avalanche_plane import EXPONENTS, avalanche_exponents
from critaudit.report.figures.avalanches import (
    COLLAPSE,
    DISTRIBUTIONS,
    MEAN_SIZE,
    avalanche_collapse,
    avalanche_distributions,
    avalanche_mean_size,
)
from critaudit.report.figures.coverage import coverage_by_kind
from critaudit.report.figures.growth import GROWTH, growth_by_block
from critaudit.report.figures.initialisation import (
    initialisation_by_depth,
    initialisation_candidates,
    initialisation_rates,
    initialisation_trials,
)
from critaudit.report.figures.manifold import manifold_growth, manifold_projections, manifold_shape
from critaudit.report.figures.multifractal import d2_by_depth, multifractal_curves
from critaudit.report.figures.phase_maps import phase_alpha_g, phase_j0_j, phase_sigma
from critaudit.report.figures.planes import alpha_g_plane, j0_j_plane
from critaudit.report.figures.points import can_draw
from critaudit.report.figures.profiles import (
    alpha_by_depth,
    change_by_depth,
    chi1_by_depth,
    spectrum_by_depth,
    strength_by_depth,
)
from critaudit.report.figures.spectra import jacobian_spectrum
from critaudit.report.figures.style import Spec, template
from critaudit.report.figures.training import alpha_g_path, growth_along, loss_along
from critaudit.report.figures.trajectories import DRAWN, path_in_plane
from critaudit.report.figures.weight_decay import decay_course
from critaudit.report.record import Report

if TYPE_CHECKING:
    from plotly.graph_objects import Figure


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure that can be drawn where some layer holds all of `requires` as numbers and the model all of `model`.

    One that names neither can be drawn where there are tensors.
    """

    requires: tuple[str, ...]
    draw: Callable[[Report], Spec]
    model: tuple[str, ...] = ()

    def is_possible(self, report: Report) -> bool:
        """Whether the report holds what the figure shows."""
        if not self.requires and not self.model:
            return bool(report.coverage.tensors)
        held = (report.model.get(identifier) for identifier in self.model)
        # An empty series is measured, but nothing to draw.
        if not all(item is not None and item.status == "measured" and item.value != () for item in held):
            return False
        return not self.requires or can_draw(report, *self.requires)


_DRAWINGS: dict[str, Drawing] = {
    "path_in_plane": Drawing(("edge.j",), path_in_plane, model=("trajectory.steps",)),
    "alpha_g_path": Drawing(("entries.alpha", "entries.g_forward"), alpha_g_path, model=("trajectory.steps",)),
    "growth_along": Drawing((), growth_along, model=("trajectory.training.signal_growth",)),
    "loss_along": Drawing((), loss_along, model=("trajectory.training.loss",)),
    **{f"along_{name}": Drawing((name,), draw, model=("trajectory.steps",)) for name, draw in DRAWN.items()},
    "initialisation_by_depth": Drawing((), initialisation_by_depth, model=("init.layers", "init.candidates")),
    "initialisation_trials": Drawing((), initialisation_trials, model=("init.candidates", "init.scores")),
    "initialisation_rates": Drawing((), initialisation_rates, model=("init.rate_losses", "init.lr")),
    "initialisation_candidates": Drawing((), initialisation_candidates, model=("init.scores", "init.largest_lrs")),
    "decay_course": Drawing(("decay.records",), decay_course, model=("decay.unit",)),
    "coverage_by_kind": Drawing((), coverage_by_kind),
    "alpha_by_depth": Drawing(("entries.alpha",), alpha_by_depth),
    "alpha_g_plane": Drawing(("entries.alpha", "entries.g_forward"), alpha_g_plane),
    "spectrum_by_depth": Drawing(("spectrum.norm", "spectrum.stable_rank"), spectrum_by_depth),
    "chi1_by_depth": Drawing(("edge.chi1",), chi1_by_depth),
    "j0_j_plane": Drawing(("edge.j0", "edge.j"), j0_j_plane),
    "asymptotic_by_depth": Drawing(("asymptotic.exponent", "asymptotic.jacobian"), asymptotic_by_depth),
    "strength_by_depth": Drawing(("signal.strength",), strength_by_depth),
    "growth_by_block": Drawing((), growth_by_block, model=GROWTH),
    "jacobian_spectrum": Drawing(("jacobian.spectral_radius",), jacobian_spectrum),
    "multifractal_curves": Drawing(("multifractal.d2_left",), multifractal_curves),
    "d2_by_depth": Drawing(("multifractal.d2_left", "multifractal.d2_left_reference"), d2_by_depth),
    "manifold_shape": Drawing(("manifold.cv", "manifold.participation"), manifold_shape),
    "manifold_growth": Drawing(("manifold.stretch",), manifold_growth),
    "manifold_projections": Drawing((), manifold_projections, model=("manifold.pictures",)),
    "change_by_depth": Drawing(("change.relative",), change_by_depth),
    "phase_alpha_g": Drawing(
        (), phase_alpha_g, model=("phase.alphas", "phase.ordered_cutoff", "phase.ordered_fixed_point")
    ),
    "phase_sigma": Drawing((), phase_sigma, model=("phase.map_sigma_b", "phase.map_sigma_w", "phase.map_chi")),
    "phase_j0_j": Drawing((), phase_j0_j, model=("phase.boundary_j0", "phase.boundary_j")),
    "avalanche_distributions": Drawing((), avalanche_distributions, model=DISTRIBUTIONS),
    "avalanche_mean_size": Drawing((), avalanche_mean_size, model=MEAN_SIZE),
    "avalanche_collapse": Drawing((), avalanche_collapse, model=COLLAPSE),
    "avalanche_exponents": Drawing((), avalanche_exponents, model=EXPONENTS),
    "avalanche_widths": Drawing((), avalanche_widths, model=("avalanche.width_values",)),
    "avalanche_map_size": Drawing((), avalanche_map_size, model=("avalanche.map_size",)),
    "avalanche_map_strength": Drawing((), avalanche_map_strength, model=("avalanche.map_strength",)),
    "avalanche_map_susceptibility": Drawing((), avalanche_map_susceptibility, model=("avalanche.map_chi",)),
}


class Figures(Mapping[str, "Figure"]):
    """The figures that this report's measurements allow, by name; each is built anew when it is looked up.

    Every figure says in `layout.meta` what a caption needs: `title`, `caption` (how to read it and what may mislead),
    `n` (points drawn) and `left_out` (why layers are missing, or "").
    """

    def __init__(self, report: Report) -> None:
        self._report = report

    def spec(self, name: str) -> Spec:
        """The figure as plain data, without a template; loads no plotly. Raises KeyError for one that is not there."""
        if name not in self:
            raise KeyError(f"{name}: this report has {', '.join(self) or 'no figures'}")
        return _DRAWINGS[name].draw(self._report)

    def __getitem__(self, name: str) -> Figure:
        from plotly.graph_objects import Figure

        spec = self.spec(name)
        return Figure(data=spec["data"], layout=spec["layout"] | {"template": template(dark=False)})

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in _DRAWINGS and _DRAWINGS[name].is_possible(self._report)

    def __iter__(self) -> Iterator[str]:
        return (name for name in _DRAWINGS if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


__all__ = ["Figures", "Spec"]
