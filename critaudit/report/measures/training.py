"""Names of the measurements on a training that was followed step by step."""

from __future__ import annotations

from critaudit.report.measures.measure import Measure

MEASURES = {
    "training.steps": Measure("optimizer steps"),
    "training.epochs": Measure("epochs", None, "Steps times batch size over the number of training samples."),
    "training.records": Measure("recorded steps"),
    "training.loss": Measure("loss", None, "Of the batch, as the training loop told it."),
    "training.signal_growth": Measure(
        "signal growth per layer", None, "Factor by which signal strength changes from layer to layer; 1 keeps it."
    ),
    "training.gradient_growth": Measure(
        "gradient growth per layer",
        None,
        "Factor by which the gradient's norm changes from layer to layer on its way back; 1 keeps it.",
    ),
    "training.overhead": Measure("share of time", None, "Time spent on following it over the training's own."),
    "training.changes": Measure("changes of weight decay"),
    "optimizer.weight_decay": Measure("weight decay", None, "As PyTorch's optimizers take it: twice Zhang et al.'s λ."),
}
