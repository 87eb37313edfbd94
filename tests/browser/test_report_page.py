"""The report in a real browser: nothing blocked or loaded, everything usable, on screen, on a phone and on paper."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.advising.networks import advised_report
from tests.browser.chromium import Page, chromium, find_chromium
from tests.report.avalanches import simulated_report
from tests.report.make import drawn_phases, hostile_report, small_report

CHROMIUM = find_chromium()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed"),
]

DRAW_ALL = """(async () => {
  for (const plot of document.querySelectorAll('.plot')) {
    plot.scrollIntoView();
    while (!plot.querySelector('.main-svg')) await new Promise((go) => setTimeout(go, 20));
  }
  return document.querySelectorAll('.plot .main-svg').length;
})()"""
VISIBLE_NAMES = (
    "[...document.querySelectorAll('#layer-table tbody tr:not([hidden]) th')].map((cell) => cell.textContent)"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    small_report(12, tensors=1000).to_html(folder / "small.html")
    hostile_report().to_html(folder / "hostile.html")
    drawn_phases().to_html(folder / "phases.html")
    simulated_report().to_html(folder / "avalanches.html")
    advised_report().to_html(folder / "advice.html")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    assert CHROMIUM is not None
    with chromium(CHROMIUM) as page:
        yield page


@pytest.fixture
def page(browser: Page, folder: Path) -> Iterator[Page]:
    """The small report, freshly opened; afterwards nothing may have been blocked, thrown or requested."""
    browser.size(1280, 900)
    browser.emulate()
    browser.problems.clear()
    browser.requests.clear()
    browser.open(folder / "small.html")
    yield browser
    assert browser.problems == []
    assert set(browser.requests) <= {
        *(f"file://{folder}/{name}.html" for name in ("small", "hostile", "large", "phases", "avalanches", "advice")),
        *(address for address in browser.requests if address.startswith(("data:", "blob:"))),
    }


@pytest.mark.parametrize(("name", "figures"), [("phases", 3), ("avalanches", 4)])
def test_given_a_report_without_a_model_then_its_figures_are_drawn_and_no_link_leads_nowhere(
    page: Page, folder: Path, name: str, figures: int
) -> None:
    page.open(folder / f"{name}.html")

    assert page.evaluate(DRAW_ALL) >= figures
    links = "[...document.querySelectorAll('a[href^=\"#\"]')]"
    assert page.evaluate(f"{links}.filter((a) => !document.getElementById(a.hash.slice(1))).length") == 0
    assert page.evaluate("document.getElementById('coverage')") is None


@pytest.mark.parametrize(("width", "dark"), [(1280, False), (390, True)])
def test_given_advice_then_its_figures_are_drawn_and_its_code_can_be_copied(
    page: Page, folder: Path, width: int, dark: bool
) -> None:
    page.size(width, 900)
    page.emulate(dark=dark)
    page.open(folder / "advice.html")

    assert page.evaluate(DRAW_ALL) >= 5
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    code = "document.querySelector('.snippet pre').textContent"
    assert "\n# tried with AdamW" in page.evaluate(code)
    page.evaluate("document.querySelector('button.copy').click()")
    page.wait_until("document.querySelector('button.copy').textContent !== 'Copy'")
    said = page.evaluate("document.querySelector('button.copy').textContent")
    if said == "Selected":
        assert page.evaluate("getSelection().toString().trim()") == page.evaluate(f"{code}.trim()")
    else:
        assert said == "Copied"


@pytest.mark.parametrize("name", ["small", "hostile"])
@pytest.mark.parametrize("dark", [False, True])
def test_given_a_page_then_all_figures_are_drawn_and_the_policy_blocks_nothing(
    page: Page, folder: Path, name: str, dark: bool
) -> None:
    page.emulate(dark=dark)
    page.open(folder / f"{name}.html")

    assert page.evaluate(DRAW_ALL) >= 7
    assert page.evaluate("document.querySelectorAll('img, iframe, object, embed, link').length") == 0
    assert (
        page.evaluate("[...document.querySelectorAll('main *')].filter((e) => e.hasAttribute('onerror')).length") == 0
    )


def test_given_a_figure_when_pointed_at_then_it_names_the_layer_and_a_click_leads_there(page: Page) -> None:
    page.evaluate(DRAW_ALL)
    page.evaluate("document.querySelector('#figure-alpha_by_depth').scrollIntoView({behavior: 'instant'})")
    time.sleep(0.2)
    place = """(() => {
      const box = document.querySelector('#figure-alpha_by_depth .scatterlayer .point').getBoundingClientRect();
      return [box.x + box.width / 2, box.y + box.height / 2];
    })()"""
    x, y = page.evaluate(place)

    page.move(x - 3, y)
    page.move(x, y)
    page.wait_until("document.querySelector('#figure-alpha_by_depth .hoverlayer text') !== null")
    shown = page.evaluate("document.querySelector('#figure-alpha_by_depth .hoverlayer').textContent")
    for kind in ("mousePressed", "mouseReleased"):
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    assert "blocks.0.conv.weight" in shown
    assert "α = " in shown
    page.wait_until("location.hash === '#layer-blocks.0.conv.weight'")


def test_given_a_figure_then_it_can_be_saved_as_an_image(page: Page) -> None:
    page.evaluate(DRAW_ALL)

    image = page.evaluate("Plotly.toImage(document.querySelector('.plot'), {format: 'png', width: 300, height: 200})")

    assert base64.b64decode(image.removeprefix("data:image/png;base64,")).startswith(b"\x89PNG")
    assert len(image) > 2000


def test_given_the_layer_table_when_sorted_then_numbers_are_in_order_and_gaps_are_last(page: Page) -> None:
    cells = "[...document.querySelectorAll('#layer-table tbody tr')].map((row) => row.cells[3].textContent)"
    header = "document.querySelector('#layer-table th:nth-child(4)')"

    page.evaluate(f"{header}.querySelector('button').focus()")
    page.press("Enter", 13)
    page.wait_until(f"{header}.hasAttribute('aria-sort')")
    ascending = page.evaluate(cells)
    assert page.evaluate(f"{header}.getAttribute('aria-sort')") == "ascending"
    page.evaluate(f"{header}.querySelector('button').click()")
    descending = page.evaluate(cells)

    assert page.evaluate(f"{header}.getAttribute('aria-sort')") == "descending"
    assert ascending[-1].startswith("undetermined")
    assert descending[-1].startswith("undetermined")
    assert ascending[:-1] == sorted(ascending[:-1])
    assert descending[:-1] == ascending[-2::-1]


def test_given_the_layer_table_when_filtered_then_it_shows_and_counts_what_fits(page: Page) -> None:
    count = "document.querySelector('#layer-count').textContent"
    page.evaluate(
        "(f => { f.value = 'LINEAR'; f.dispatchEvent(new Event('input')); })(document.querySelector('#layer-filter'))"
    )
    assert page.evaluate(VISIBLE_NAMES) == ["blocks.1.linear.weight", "blocks.7.linear.weight"]
    assert page.evaluate(count) == "2 of 12 layers"

    page.evaluate("document.querySelector('#layer-findings').click()")
    assert page.evaluate(VISIBLE_NAMES) == ["blocks.1.linear.weight"]

    page.evaluate(
        "(f => { f.value = 'conv'; f.dispatchEvent(new Event('change')); })(document.querySelector('#layer-kind'))"
    )
    assert page.evaluate(VISIBLE_NAMES) == []


def test_given_a_permalink_then_the_layer_is_open_in_view_and_in_focus(page: Page, folder: Path) -> None:
    page.open(folder / "hostile.html", "#layer-_7_7_raw_")
    target = "document.querySelector('details.layer:target')"

    assert page.evaluate(f"{target}.open")
    assert page.evaluate(f"{target}.contains(document.activeElement)")
    assert "{{7*7}}" in page.evaluate(f"{target}.querySelector('summary').textContent")


def test_given_a_long_ledger_when_filtered_then_all_tensors_are_searched(page: Page) -> None:
    rows = "document.querySelectorAll('#ledger-rows tr').length"
    filter_by = (
        "(f => {{ f.value = {!r}; f.dispatchEvent(new Event('input')); }})(document.querySelector('#ledger-filter'))"
    )
    assert page.evaluate(rows) == 400

    page.evaluate(filter_by.format("blocks.987.BIAS".lower()))
    assert page.evaluate(rows) == 1
    assert page.evaluate("document.querySelector('#ledger-count').textContent") == "1 of 1000 tensors."
    page.evaluate(filter_by.format(""))
    assert page.evaluate(rows) == 400


def test_given_the_theme_button_then_page_and_figures_change_and_nothing_is_stored(page: Page) -> None:
    page.evaluate(DRAW_ALL)
    paper = "getComputedStyle(document.body).backgroundColor"
    ink = "document.querySelector('.plot .xtick text').style.fill"
    light = page.evaluate(paper), page.evaluate(ink)

    page.evaluate("document.querySelector('#theme').click()")
    page.wait_until(f"{ink} !== '{light[1]}'")

    assert page.evaluate(paper) != light[0]
    assert page.evaluate("document.querySelector('#theme').getAttribute('aria-pressed')") == "true"
    assert page.evaluate("localStorage.length + sessionStorage.length + document.cookie.length") == 0


def test_given_the_save_button_then_the_file_is_the_report(page: Page, tmp_path: Path) -> None:
    page.call("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))

    page.evaluate("document.querySelector('#save').click()")
    saved = tmp_path / "network.pt.critaudit.json"
    deadline = time.monotonic() + 20
    while not saved.exists() and time.monotonic() < deadline:
        time.sleep(0.05)

    assert json.loads(saved.read_text()) == json.loads(json.dumps(small_report(12, tensors=1000).to_dict()))


@pytest.mark.parametrize("width", [360, 800, 1920])
@pytest.mark.parametrize("name", ["small", "hostile"])
def test_given_any_width_then_the_page_does_not_scroll_sideways(
    page: Page, folder: Path, name: str, width: int
) -> None:
    page.size(width, 800)
    page.open(folder / f"{name}.html")
    page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")

    page.evaluate(DRAW_ALL)

    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_given_a_phone_then_measurements_are_stacked_and_none_is_out_of_sight(page: Page, folder: Path) -> None:
    page.size(400, 800)
    page.open(folder / "small.html")
    page.evaluate("document.querySelectorAll('details').forEach((details) => (details.open = true))")

    boxes = "[...document.querySelectorAll('table.measures')].map((table) => table.parentElement)"
    assert page.evaluate(f"{boxes}.length") >= 13
    assert page.evaluate(f"{boxes}.filter((box) => box.scrollWidth > box.clientWidth).length") == 0
    method = "document.querySelector('#model .method').getBoundingClientRect()"
    name = "document.querySelector('#model tbody th').getBoundingClientRect()"
    assert page.evaluate(f"{method}.top >= {name}.bottom && {method}.width > 300")


def test_given_a_guide_in_a_figure_then_its_label_hides_no_mark(page: Page) -> None:
    page.evaluate(DRAW_ALL)

    hidden = """[...document.querySelectorAll('.plot')].filter((plot) => {
      const labels = [...plot.querySelectorAll('.annotation')].map((label) => label.getBoundingClientRect());
      const marks = [...plot.querySelectorAll('.scatterlayer .point')].map((mark) => mark.getBoundingClientRect());
      return labels.some((label) => marks.some((mark) =>
        mark.left < label.right && label.left < mark.right && mark.top < label.bottom && label.top < mark.bottom));
    }).length"""
    assert page.evaluate("document.querySelectorAll('.plot .annotation').length") >= 3
    assert page.evaluate(hidden) == 0


def test_given_paper_then_everything_is_open_and_drawn_and_then_as_before(page: Page) -> None:
    page.call("Emulation.setEmulatedMedia", media="")
    page.evaluate("""addEventListener('beforeprint', () => { window.seen = [
      document.querySelectorAll('details:not([open])').length,
      document.querySelectorAll('.plot .main-svg:first-child').length]; })""")

    document = base64.b64decode(page.call("Page.printToPDF", printBackground=False)["data"])

    assert document.count(b"/Type /Page\n") >= 8
    assert page.evaluate("window.seen") == [0, 7]
    assert page.evaluate("document.querySelectorAll('details[open]').length") == 0


def test_given_no_scripts_then_the_content_is_there_and_no_dead_control(page: Page, folder: Path) -> None:
    page.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        page.open(folder / "small.html")
        tree = page.call("Accessibility.getFullAXTree")["nodes"]
    finally:
        page.call("Emulation.setScriptExecutionDisabled", value=False)

    names = [(node.get("role", {}).get("value"), node.get("name", {}).get("value", "")) for node in tree]
    assert any("The figures need scripts" in name for _, name in names)
    assert any("only 40 entries, at least 100 are needed" in name for _, name in names)
    assert not [name for role, name in names if role in ("button", "searchbox", "combobox", "checkbox")]


def test_given_the_page_then_every_control_has_a_name(page: Page) -> None:
    tree = page.call("Accessibility.getFullAXTree")["nodes"]

    unnamed = [
        node["role"]["value"]
        for node in tree
        if node.get("role", {}).get("value")
        in ("button", "searchbox", "combobox", "checkbox", "link", "region", "image")
        and not node.get("name", {}).get("value")
    ]
    assert unnamed == []


def test_given_a_thousand_layers_then_the_first_paint_comes_within_two_seconds(page: Page, folder: Path) -> None:
    small_report(1000, tensors=10_000).to_html(folder / "large.html")

    page.open(folder / "large.html")
    page.wait_until("performance.getEntriesByType('paint').length > 0")

    assert page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 2000
