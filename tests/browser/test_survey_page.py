"""A survey's page in a real browser: 1,000 models × 200 layers, nothing blocked, models found again."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from critaudit.report import html
from critaudit.surveying.page import render
from tests.browser.chromium import Page, chromium, find_chromium
from tests.browser.test_report_page import DRAW_ALL
from tests.surveying.large import MODELS, large

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = tmp_path_factory.mktemp("survey")
    (folder / "assets").mkdir()
    for name, text in html.assets().items():
        (folder / "assets" / name).write_text(text, encoding="utf-8")
    (folder / "index.html").write_text(render(large(), name="Survey of <i>zoo</i>"), encoding="utf-8")
    assert CHROMIUM is not None
    with chromium(CHROMIUM) as browser:
        browser.size(1280, 900)
        browser.open(folder / "index.html")
        yield browser
        assert browser.problems == []
        assert all(address.startswith((f"file://{folder}/", "data:", "blob:")) for address in browser.requests)


def test_given_a_thousand_models_then_no_more_rows_are_laid_out_than_can_be_quickly(page: Page) -> None:
    shown = "document.querySelectorAll('#layer-table tbody tr:not([hidden])').length"
    count = "document.querySelector('#layer-count').textContent"
    assert page.evaluate(shown) == 300
    assert page.evaluate(count) == "1000 of 1000 models, the first 300 are shown: filter or sort"
    page.evaluate(
        "(f => { f.value = '-099'; f.dispatchEvent(new Event('input')); })(document.querySelector('#layer-filter'))"
    )
    assert page.evaluate(count) == "10 of 1000 models"
    assert page.evaluate(shown) == 10


def test_given_sorting_by_a_number_then_models_without_it_are_last(page: Page) -> None:
    page.evaluate(
        "(f => { f.value = ''; f.dispatchEvent(new Event('input')); })(document.querySelector('#layer-filter'))"
    )
    page.evaluate("document.querySelectorAll('#layer-table thead th')[5].click()")
    keys = page.evaluate("[...document.querySelectorAll('#layer-table tbody tr')].map((r) => r.cells[5].dataset.key)")
    numbers = [float(key) for key in keys if key is not None]
    assert numbers == sorted(numbers)
    assert all(key is None for key in keys[len(numbers) :])


def test_given_the_figures_then_all_are_drawn_and_hold_few_points(page: Page) -> None:
    page.evaluate(DRAW_ALL)
    assert page.evaluate("document.querySelectorAll('.plot').length") == 8
    points = page.evaluate(
        "JSON.parse(document.querySelector('#figure-data').textContent).figures"
        ".map((f) => f.data.reduce((n, t) => n + (t.x ?? []).length, 0))"
    )
    assert max(points) <= 1100


def test_given_hostile_names_then_they_are_text(page: Page) -> None:
    assert page.evaluate("document.querySelector('h1').textContent") == "Survey of <i>zoo</i>"
    assert page.evaluate("document.querySelectorAll('main b, main i').length") == 0
    data = page.evaluate("document.querySelector('#report-data').textContent")
    assert len(json.loads(data)["models"]) == MODELS


@pytest.mark.parametrize("width", [1280, 420])
def test_given_any_width_then_the_page_does_not_scroll_sideways(page: Page, width: int) -> None:
    page.size(width, 900)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
