"""Names of the measurements behind advice: on initialisations, and on weight decay."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MOST_CANDIDATES = 16
_SERIES = ("losses", "signals", "signal_places", "gradients", "gradient_places")


def _both(name: str, label: str, symbol: str | None, meaning: str) -> dict[str, Measure]:
    """The same quantity with the present weights and with the recommended ones."""
    return {
        f"init.{name}_before": Measure(f"{label}, before", symbol, meaning),
        f"init.{name}_after": Measure(f"{label}, after", symbol, meaning),
    }


def _plotted(*names: str) -> dict[str, Measure]:
    return {f"init.{name}": Measure(name.replace("_", " "), plotted=True) for name in names}


INITIALISATION = (
    {
        "init.choice": Measure("recommended weights"),
        "init.candidates": Measure("candidates", None, "All initialisations that were weighed."),
    }
    | _both(
        "signal_change",
        "change of the signal",
        None,
        "Of its strength, first hidden weight to last.",
    )
    | _both(
        "gradient_change",
        "change of the gradient",
        None,
        "Of its norm, last hidden weight to first.",
    )
    | _both("loss", "trial loss", None, "Mean over the second half of a short training.")
    | _both("sharpness", "sharpness", "λ", "Largest eigenvalue of the loss's Gauss–Newton matrix.")
    | _both("largest_lr", "largest stable learning rate", "2/λ", "Of plain gradient descent.")
    | {
        "init.optimizer": Measure("optimizer of the trials"),
        "init.lr": Measure("learning rate of the trials", "η"),
        "init.task": Measure("targets of the trials"),
        "init.samples": Measure("samples of the trials"),
        "init.batch_size": Measure("batch size of the trials"),
        "init.steps": Measure("steps of a trial"),
        "init.best_lr": Measure("best learning rate tried"),
        "init.good_lrs": Measure("learning rates that work", None, "Smallest and largest of those tried."),
        "init.rates_diverged": Measure("learning rates that diverged"),
        "init.rates_lost": Measure("learning rates that did not hold", None, "The loss came down and was lost again."),
        "init.activation": Measure("nonlinearity of the chain"),
        "init.depth": Measure("depth of the chain", "L"),
        "init.operating_strength": Measure("signal strength aimed at", "s", "There gradients keep their size."),
        "init.operating_sigma_w": Measure("weight scale that keeps it", "σ_w"),
        "init.operating_chi1": Measure("growth of squared gradients per layer", "χ₁", "Predicted at this strength."),
        "init.depth_scale": Measure("depth scale", "ξ_c", "Layers over which two signals forget their difference."),
        "init.susceptibility": Measure("susceptibility", "∂s*/∂σ_w", "Of the signal's strength to the weights' scale."),
        "init.edge_sigma_w": Measure("edge of chaos at", "σ_w"),
        "init.widom_sigma_w": Measure("Widom line at", "σ_w"),
        "init.heavy_tails": Measure("heavy-tailed candidates in the phase diagram"),
        "init.diverged": Measure("candidates that diverged"),
        "init.not_made": Measure("candidates that could not be made"),
        "init.role": Measure("role", None, "The weight's place in the network, which says how it is scaled."),
        "init.sigma_w_before": Measure("weight scale, before", "σ_w", "√(fan-in · mean w²)."),
        "init.sigma_w": Measure("weight scale, recommended", "σ_w", "√(fan-in · mean w²)."),
        "init.strength_target": Measure("signal strength aimed at", "s", "‖x‖/√n behind the weight."),
    }
    | _both("signal", "signal", "‖h‖/√n", "Strength of the signal behind the weight.")
    | _both("gradient", "gradient", "‖∂ℓ/∂h‖", "Norm of the loss's gradient at the weight's output.")
    | _plotted("chosen_number", "layers", "scores", "score_errors", "score_names", "largest_lrs", "largest_lr_names")
    | _plotted("rate_lrs", "rate_losses", "rate_errors", "snippet")
    | _plotted(*(f"{name}.{place}" for name in _SERIES for place in range(1, MOST_CANDIDATES + 1)))
)

DECAY = {
    "decay.weight_decay": Measure("weight decay advised", None, "As PyTorch takes it: twice Zhang et al.'s λ for SGD."),
    "decay.lambda": Measure("weight decay in the loss", "λ", "Of a loss with λ|w|²."),
    "decay.present": Measure("weight decay now"),
    "decay.target": Measure("spread at the edge", "J*²", "The layer's own edge of chaos."),
    "decay.j_squared": Measure("coupling spread", "J²", "N · var(W) at the last record."),
    "decay.growth": Measure("growth per step", None, "What training alone adds to J², without decay."),
    "decay.growth_per_epoch": Measure("growth per epoch", "A", "Of J² = A · epoch + C, Zhang et al. 2021."),
    "decay.constant": Measure("growth constant", "D", "A(1 − m)B/η: a number of network and data."),
    "decay.edge_epochs": Measure("epochs to the edge", None, "With the present decay."),
    "decay.determined": Measure("layers with a decay"),
    "decay.dataset_size": Measure("training samples", "S"),
    "decay.batch_size": Measure("batch size", "B"),
    "decay.records": Measure("records of J²"),
    "decay.unit": Measure("unit of time", plotted=True),
    "decay.course": Measure("J² along the training", plotted=True),
    "decay.course_at": Measure("places of J²", plotted=True),
    "decay.equal_lrs": Measure("learning rates of equal growth", plotted=True),
    "decay.equal_momenta": Measure("momenta of equal growth", plotted=True),
    "decay.equal_batch_sizes": Measure("batch sizes of equal growth", plotted=True),
    "decay.equal_present": Measure("the present of these", plotted=True),
    "decay.snippet": Measure("snippet", plotted=True),
}
