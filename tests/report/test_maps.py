"""Maps by colour: cells in their places, and a scale that says what the colours mean."""

from __future__ import annotations

import math

import pytest

from critaudit.report.figures.maps import colour_bar, colour_map, ticks


def drawn(values: list[float], floor: float | None) -> dict:
    x, y = [1.0, 2.0, 3.0] * 2, [0.0] * 3 + [0.5] * 3
    return colour_map(
        x, y, values, name="map", sign="χ", hover="%{text}", texts=[str(value) for value in values], floor=floor
    )


def test_given_cells_when_mapped_then_logarithms_lie_at_their_places_and_gaps_stay_empty() -> None:
    trace = drawn([1.0, 10.0, math.nan, 1e-9, 100.0, 1000.0], 0.1)

    assert (trace["x"], trace["y"]) == ([1.0, 2.0, 3.0], [0.0, 0.5])
    assert trace["z"] == [[0.0, 1.0, None], [-1.0, 2.0, 3.0]]
    assert (trace["zmin"], trace["zmax"]) == (-1.0, 3.0)
    assert trace["text"][0][2] == "nan"


@pytest.mark.parametrize("floor", [None, 1e-4, 0.5])
@pytest.mark.parametrize("values", [[0.0, 0.1, 0.2, 0.5, 0.9, 1.4], [3.0] * 6, [1.0, 1e5, 10.0, 2.0, 7.0, 1e6]])
def test_given_any_values_when_scaled_then_ticks_stand_in_order_within_the_bar_with_their_numbers(
    values: list[float], floor: float | None
) -> None:
    trace = drawn(values, floor)
    layout = colour_bar(trace)
    marks = ticks(trace)

    assert trace["zmax"] > trace["zmin"]
    assert len({text for _, text in marks}) == len(marks) <= 14
    for place, text in marks:
        number = text.replace("⁴", "^4").replace("⁵", "^5").replace("⁶", "^6").replace("⁻", "-")
        if "^" not in number and "10-" not in number:
            assert float(number) == pytest.approx(10.0**place if floor is not None else place, rel=0.06)
    heights = [text["y"] for text in layout["annotations"][:-1]]
    assert heights == sorted(heights)
    assert all(0.09 <= height <= 0.86 for height in heights)
    assert layout["annotations"][-1]["text"] == "χ"
    assert all(shape["y0"] < shape["y1"] for shape in layout["shapes"])


def test_given_large_numbers_when_scaled_then_labels_are_short() -> None:
    labels = [text for _, text in ticks(drawn([1e3, 1e4, 1e5, 3e5, 1e6, 1e7], 1e3))]

    assert labels == ["1000", "3000", "10⁴", "3·10⁴", "10⁵", "3·10⁵", "10⁶", "3·10⁶", "10⁷"]
