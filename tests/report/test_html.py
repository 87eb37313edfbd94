"""The HTML page: complete, self-contained, under a strict policy, and safe for any string."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from critaudit.errors import CritauditError
from critaudit.report import Coverage, Report, TensorRecord, html
from tests.report.make import HOSTILE, empty_report, hostile_report, small_report, theory_report
from tests.report.parsing import elements, parse

REPORTS = {"small": small_report, "empty": empty_report, "hostile": hostile_report, "theory": theory_report}


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: html.render(make()) for name, make in REPORTS.items()}


def attributes(page: str, tag: str) -> list[dict[str, str | None]]:
    return [held for name, held in elements(page) if name == tag]


def policy_of(page: str) -> dict[str, str]:
    (policy,) = [
        held["content"] or ""
        for held in attributes(page, "meta")
        if held.get("http-equiv") == "Content-Security-Policy"
    ]
    return dict(part.strip().split(" ", 1) for part in policy.split(";"))


def digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@pytest.mark.parametrize("name", REPORTS)
def test_given_any_report_then_its_policy_lets_in_our_texts_by_hash_and_nothing_else(
    name: str, pages: dict[str, str]
) -> None:
    policy, page = policy_of(pages[name]), pages[name]
    scripts = parse(page).scripts
    styles = re.findall(r"<style[^>]*>(.*?)</style>", page[: page.index("</head>")], re.DOTALL)

    assert policy == {
        "default-src": "'none'",
        "script-src": " ".join(map(digest, scripts[2:])),
        "style-src": " ".join(map(digest, dict.fromkeys(styles))),
        "img-src": "data: blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    kinds = [held.get("type") for held in attributes(page, "script")]
    assert kinds == ["application/json", "application/json", None, None]
    assert "Plotly" in scripts[3]
    assert styles[-1] == ""


@pytest.mark.parametrize("name", REPORTS)
def test_given_any_report_then_no_address_is_outside_the_page(name: str, pages: dict[str, str]) -> None:
    for tag, held in elements(pages[name]):
        assert tag not in ("link", "iframe", "object", "embed", "base", "form", "img", "audio", "video", "source")
        for attribute in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            assert (held.get(attribute) or "#").startswith("#")


def test_given_hostile_names_then_no_element_or_handler_is_injected(pages: dict[str, str]) -> None:
    ours = {name for name, _ in elements(pages["small"])} | {"br", "li", "em"}
    hostile = elements(pages["hostile"])

    assert {name for name, _ in hostile} <= ours
    for name, held in hostile:
        assert not [attribute for attribute in held if attribute.startswith("on") or attribute == "style"]
        assert (name, held.get("src")) == (name, None)


def test_given_hostile_names_then_they_are_shown_as_they_are(pages: dict[str, str]) -> None:
    words = "".join(parse(pages["hostile"]).words)

    for name in ("{{7*7}}{% raw %}", '</script><img src=x onerror="alert(1)">', "&lt;b&gt; &amp;", "${7*7}%{x}"):
        assert name in words
    assert "\\x1b[31m\\u202e" in words
    assert "49" not in re.findall(r"^\s*(\d+)\s*$", words, re.MULTILINE)
    assert all(character.isprintable() or character in "\n\u202f" for character in words)


@pytest.mark.parametrize("name", REPORTS)
def test_given_any_report_then_the_json_inside_is_the_report(name: str, pages: dict[str, str]) -> None:
    text = parse(pages[name]).scripts[0]

    assert json.loads(text) == json.loads(json.dumps(REPORTS[name]().to_dict()))
    assert text.isascii()
    assert not set(text) & set("<>&")
    assert Report.from_dict(json.loads(text)).layers.shape[0] == len(REPORTS[name]().layer_records)


def test_given_a_name_of_the_source_then_the_saved_file_has_safe_characters(pages: dict[str, str]) -> None:
    names = [held["data-name"] for page in pages.values() for held in attributes(page, "button") if "data-name" in held]

    assert names[:2] == ["network.pt.critaudit.json", "empty.pt.critaudit.json"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+", name or "") for name in names)


@pytest.mark.parametrize("name", REPORTS)
def test_given_any_report_then_links_lead_to_places_that_exist_once(name: str, pages: dict[str, str]) -> None:
    found = elements(pages[name])
    places = [held["id"] for _, held in found if "id" in held]

    assert len(places) == len(set(places))
    for _, held in found:
        assert (held.get("href") or "#main")[1:] in places
        for reference in (held.get("aria-labelledby") or "main").split():
            assert reference in places


def test_given_two_layers_of_one_name_then_each_has_its_permalink() -> None:
    report = small_report(2, names=("a b", "a/b"))

    anchors = [
        held["id"] for name, held in elements(html.render(report)) if (held.get("id") or "").startswith("layer-a")
    ]

    assert anchors == ["layer-a_b", "layer-a_b~2"]


def test_given_a_page_then_everything_is_readable_without_scripts(pages: dict[str, str]) -> None:
    words = " ".join("".join(parse(pages["small"]).words).split())

    for part in (
        "the signal dies out",
        "What could make this wrong: 64 inputs only",
        "99.5 % of",
        "only 40 entries, at least 100 are needed",
        "the forward pass gave NaN",
        "The figures need scripts",
        "Why it may mislead",
        "maximum likelihood",
        "orthogonal",
        "412 MB",
        "Not run: avalancheonly runs on request",
    ):
        assert part in words


def test_given_tables_then_their_headers_have_scopes_and_regions_have_names(pages: dict[str, str]) -> None:
    found = elements(pages["small"])

    assert all(held.get("scope") in ("col", "row", "rowgroup") for name, held in found if name == "th")
    assert all(held.get("aria-label") for _, held in found if held.get("role") in ("region", "img"))
    assert [name for name, _ in found if name in ("header", "nav", "main", "footer", "h1")] == [
        "header",
        "nav",
        "main",
        "h1",
        "footer",
    ]
    assert all(held.get("aria-labelledby") for name, held in found if name == "section")


def test_given_the_same_report_then_the_page_is_the_same() -> None:
    assert html.render(small_report()) == html.render(small_report())


def test_given_the_page_then_content_comes_before_the_large_script(pages: dict[str, str]) -> None:
    page = pages["small"]

    assert page.index("</main>") < page.index('id="report-data"') < len(page) - 4_000_000
    assert len(page) - len(html._plotly()) < 400_000


def test_given_a_thousand_layers_and_ten_thousand_tensors_then_the_page_stays_small() -> None:
    report = small_report(1000, tensors=10_000)
    page = html.render(report)

    content = page[: page.index('<script type="application/json"')]
    assert content.count('id="layer-b') == 1000
    assert content.count("<tr") < 30_000
    assert len(page) - len(html._plotly()) < 12_000_000


def test_given_more_layers_than_a_page_holds_then_those_with_findings_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critaudit.report.page._SHOWN_LAYERS", 3)
    page = html.render(small_report(12))

    anchors = [held["id"] for _, held in elements(page) if (held.get("id") or "").startswith("layer-b")]
    assert anchors == [
        "layer-blocks.0.conv.weight",
        "layer-blocks.1.linear.weight",
        "layer-blocks.11.recurrent.weight",
    ]
    assert "3 layers of 12 are shown" in page


def test_given_a_long_ledger_then_the_page_lists_what_was_lost_first_and_says_what_it_left_out() -> None:
    tensors = tuple(
        TensorRecord(f"t{index}", (2,), "float32", "lost" if index == 9_999 else "analysed", None)
        for index in range(10_000)
    )
    page = html.render(replace(empty_report(), coverage=Coverage(20_000, 19_998, tensors)))

    rows = page[page.index('id="ledger-rows"') : page.index("</section>", page.index('id="ledger-rows"'))]
    assert rows.count("<tr>") == 400
    assert rows.index("t9999") < rows.index(">t0<")
    assert "The first 400 of 10\u202f000 tensors" in page


def test_given_an_analyzer_whose_name_is_a_path_then_no_template_is_looked_up_by_it() -> None:
    report = small_report(1)
    layer = report.layer_records[0]
    sample = layer.measurements["entries.alpha"]
    held = {f"{name}.x": sample for name in ("../report", "/etc/passwd", "entries.html.j2", *HOSTILE[:3])}

    page = html.render(replace(report, layer_records=(replace(layer, measurements=held),)))

    assert "This version of the page has no guide" in page


def test_given_missing_templates_then_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(html, "__file__", str(tmp_path / "critaudit" / "report" / "html.py"))

    with pytest.raises(CritauditError, match="templates are missing"):
        html.templates_folder()


def test_given_each_known_analyzer_then_it_has_a_guide_that_says_why_it_may_mislead() -> None:
    guides = {path.name.removesuffix(".html.j2"): path for path in (html.templates_folder() / "analyzers").iterdir()}

    assert {"entries", "spectrum", "edge", "signal"} <= set(guides)
    for path in guides.values():
        assert "Why it may mislead." in path.read_text(encoding="utf-8")


def test_given_identifiers_then_they_wrap_after_dots_and_underscores_and_stay_escaped() -> None:
    page = html.render(small_report(3))
    hostile = html.render(hostile_report())

    assert "<code>entries.<wbr>g_<wbr>forward</code>" in page
    assert "<code>blocks.<wbr>1.<wbr>linear.<wbr>weight</code>" in page
    assert "<code>&lt;/script&gt;&lt;img src=x onerror=" in hostile
