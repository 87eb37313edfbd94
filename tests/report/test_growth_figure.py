"""The growth figure draws the series that the report holds, and says what a reader needs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from critaudit.measurement import Measurement, measured
from critaudit.report import Report
from tests.report.make import empty_report, small_report


def _model(count: int = 5, ratio: float = 2.0e-4, norm: float = 0.5) -> dict[str, Measurement]:
    model = {
        "jacobian.blocks": measured(tuple(f"layer<{index}>" for index in range(count))),
        "jacobian.block_count": measured(count),
        "jacobian.gradient_ratio": measured(ratio),
    }
    for name in ("block_norm", "partial_norm", "gradient_norm"):
        values = tuple(norm**index for index in range(1, count + 1))
        model |= {
            f"jacobian.{name}": measured(values),
            f"jacobian.{name}_low": measured(tuple(0.9 * value for value in values)),
            f"jacobian.{name}_high": measured(tuple(1.2 * value for value in values)),
            f"jacobian.{name}_places": measured(tuple(float(place) for place in range(1, count + 1))),
        }
    return model


def _report(model: dict[str, Measurement]) -> Report:
    return replace(small_report(3), model=model)


def test_given_the_series_then_three_curves_with_their_intervals_are_drawn() -> None:
    spec = _report(_model()).figures.spec("growth_by_block")
    block, signal, gradient = spec["data"]
    assert block["x"] == [1, 2, 3, 4, 5]
    assert block["y"] == [0.5, 0.25, 0.125, 0.0625, 0.03125]
    assert block["error_y"]["array"] == pytest.approx([0.2 * value for value in block["y"]])
    assert block["error_y"]["arrayminus"] == pytest.approx([0.1 * value for value in block["y"]])
    assert (signal["yaxis"], gradient["yaxis"]) == ("y2", "y2")
    assert spec["layout"]["yaxis2"]["type"] == "log"
    assert "layer&lt;0&gt;" in block["text"][0]
    assert spec["layout"]["meta"]["n"] == 5


@pytest.mark.parametrize(
    ("ratio", "words"),
    [(2e-4, "shrinks by a factor of 5"), (40.0, "grows by a factor of 40"), (1.2, "keeps its size")],
)
def test_given_the_gradients_ratio_then_the_title_says_what_happens(ratio: float, words: str) -> None:
    title = _report(_model(ratio=ratio)).figures.spec("growth_by_block")["layout"]["meta"]["title"]
    assert title.startswith("On its way back through 5 blocks a gradient")
    assert words in title


def test_given_blocks_without_a_gradient_then_they_are_left_out_and_counted() -> None:
    model = _model() | {"jacobian.block_norm": measured((0.5, 0.0, 0.1, 0.1, 0.1))}
    spec = _report(model).figures.spec("growth_by_block")
    assert spec["data"][0]["x"] == [1, 3, 4, 5]
    assert spec["layout"]["meta"]["left_out"] == "1 block is not drawn: no gradient passes."


def test_given_one_input_then_the_caption_speaks_of_no_bars() -> None:
    model = _model()
    caption = _report(model).figures.spec("growth_by_block")["layout"]["meta"]["caption"]
    bare = model | {f"jacobian.block_norm_{end}": model["jacobian.block_norm"] for end in ("low", "high")}

    assert "Bars are 95 % intervals over inputs. Levels" in caption
    assert "Bars" not in _report(bare).figures.spec("growth_by_block")["layout"]["meta"]["caption"]


def test_given_missing_or_foreign_series_then_what_there_is_is_drawn_or_nothing() -> None:
    held = {name: value for name, value in _model().items() if "partial" not in name and "gradient" not in name}
    assert len(_report(held).figures.spec("growth_by_block")["data"]) == 1
    assert "growth_by_block" not in empty_report().figures
    assert "growth_by_block" not in _report({"jacobian.blocks": measured(("a",))}).figures
    odd = _model() | {"jacobian.block_norm_low": measured("three"), "jacobian.block_norm_high": measured((1.0,))}
    assert _report(odd).figures.spec("growth_by_block")["data"] is not None


def test_given_the_figure_then_plotly_takes_it_as_it_is() -> None:
    figure = _report(_model()).figures["growth_by_block"]
    assert len(figure.data) == 3
