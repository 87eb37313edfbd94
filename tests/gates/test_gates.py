"""A project's thresholds are found, checked, and never silently about nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch
from click.testing import CliRunner
from torch import nn

import critaudit
from critaudit.cli import cli
from critaudit.errors import UsageError
from critaudit.gates import Threshold, gated, read_configuration
from critaudit.measurement import undetermined
from critaudit.report import Report, junit, sarif


@pytest.fixture(scope="module")
def report() -> Report:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 4))
    return critaudit.audit(model, only=["entries", "edge"])


def rules(found: Report) -> list[str]:
    return [finding.rule for finding in found.findings if finding.rule.startswith("threshold.")]


@pytest.mark.parametrize("name", ["critaudit.toml", "pyproject.toml"])
def test_the_nearest_configuration_above_is_taken(tmp_path: Path, name: str):
    head = "[tool.critaudit]\n" if name == "pyproject.toml" else ""
    part = "tool.critaudit." if name == "pyproject.toml" else ""
    (tmp_path / name).write_text(f'{head}fail-on = "warning"\n[{part}thresholds."edge.j"]\nmax = 3\n')
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    found = read_configuration(folder=inner)
    assert found.path == (tmp_path / name).resolve()
    assert found.fail_on == "warning"
    assert found.thresholds == (Threshold("edge.j", high=3.0),)


def test_thresholds_alone_make_problems_fail(tmp_path: Path):
    path = tmp_path / "critaudit.toml"
    path.write_text('[thresholds."edge.j"]\nmax = 3\n')
    assert read_configuration(path).fail_on == "problem"
    path.write_text("")
    assert read_configuration(path).fail_on is None


def test_the_search_ends_at_a_repository(tmp_path: Path):
    (tmp_path / "critaudit.toml").write_text('fail-on = "info"\n')
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    assert read_configuration(folder=tmp_path / "repo").path is None


@pytest.mark.parametrize(
    "text",
    [
        "fail-on = 'never'",
        "surprise = 1",
        "[thresholds]\nalpha = {max = 1}",
        "[thresholds.'edge.j']\nmax = 'two'",
        "[thresholds.'edge.j']\nmax = true",
        "[thresholds.'edge.j']\nmax = nan",
        "[thresholds.'edge.j']\nmin = 3\nmax = 1",
        "[thresholds.'edge.j']",
        "[thresholds.'edge.j']\nmax = 1\nlayer = 'x'",
        "[thresholds.'edge.j']\nmax = 1\nlayers = 3",
        "[thresholds.'edge.j']\nmax = 1\nseverity = 'grave'",
        "[thresholds.'edge.j']\nmax = 1\nmissing = 'skip'",
        "[thresholds.'edge.phase']\nallowed = 'ordered'",
        "thresholds = 3",
        "not toml at all = = =",
    ],
)
def test_a_configuration_that_makes_no_sense_is_refused_in_one_line(tmp_path: Path, text: str):
    path = tmp_path / "critaudit.toml"
    path.write_text(text)
    with pytest.raises(UsageError) as caught:
        read_configuration(path)
    assert "\n" not in str(caught.value)
    assert "critaudit.toml" in str(caught.value)


def test_a_threshold_that_is_kept_says_nothing(report: Report):
    assert rules(gated(report, [Threshold("edge.j", low=0.0, high=100.0)])) == []


@pytest.mark.parametrize(
    ("threshold", "layers"),
    [
        (Threshold("edge.j", high=0.1), "2 of 2 layers"),
        (Threshold("edge.j", low=100.0, layers="0.*"), "1 of 1 layer"),
        (Threshold("entries.verdict", allowed=("nothing",)), "2 of 2 layers"),
    ],
)
def test_a_broken_threshold_is_one_finding_that_counts_the_layers(report: Report, threshold: Threshold, layers: str):
    found = [finding for finding in gated(report, [threshold]).findings if finding.rule.startswith("threshold.")]
    assert len(found) == 1
    assert layers in found[0].text
    assert found[0].severity == "problem"


def test_a_threshold_about_nothing_is_an_error_not_a_pass(report: Report):
    with pytest.raises(UsageError, match="concerns nothing"):
        gated(report, [Threshold("edge.chi2", high=1.0)])
    with pytest.raises(UsageError, match="concerns nothing"):
        gated(report, [Threshold("edge.j", high=1.0, layers="decoder.*")])


@pytest.mark.parametrize(("missing", "broken"), [(False, 0), (True, 1)])
def test_what_was_not_measured_breaks_only_where_it_is_asked_to(report: Report, missing: bool, broken: int):
    layer = report.layer_records[0]
    held = {**layer.measurements, "edge.j": undetermined("noise")}
    changed = replace(report, layer_records=(replace(layer, measurements=held), *report.layer_records[1:]))
    assert len(rules(gated(changed, [Threshold("edge.j", high=100.0, missing=missing)]))) == broken


def test_the_model_as_a_whole_has_thresholds_too(report: Report):
    assert rules(gated(report, [Threshold("entries.alpha_median", low=5.0)])) == ["threshold.entries.alpha_median"]


def test_sarif_has_what_the_standard_asks_for(report: Report):
    found = sarif.document(gated(report, [Threshold("edge.j", high=0.1, layers="0.*")]))
    run = found["runs"][0]
    assert found["version"] == "2.1.0"
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    worst = run["results"][0]
    assert worst["level"] == "error"
    assert ids[worst["ruleIndex"]] == worst["ruleId"] == "threshold.edge.j"
    assert worst["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == "0.weight"
    assert all(result["message"]["text"] for result in run["results"])
    json.dumps(found, allow_nan=False)


def test_junit_counts_what_it_lists(report: Report):
    found = ElementTree.fromstring(junit.document(gated(report, [Threshold("edge.j", high=0.1, layers="0.*")])))
    assert int(found.attrib["tests"]) == len(found.findall("testcase"))
    assert int(found.attrib["failures"]) == len(found.findall("testcase/failure")) == 1
    assert int(found.attrib["skipped"]) == len(found.findall("testcase/skipped"))
    assert len(ElementTree.fromstring(junit.document(report, fail_on="info")).findall("testcase/failure")) == len(
        report.findings
    )


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    torch.save(nn.Sequential(nn.Linear(30, 30), nn.Tanh(), nn.Linear(30, 4)).state_dict(), "m.pt")

    def invoke(*arguments: str) -> int:
        found = CliRunner().invoke(cli, ["audit", "m.pt", "--only", "edge", "-q", *arguments], standalone_mode=False)
        if isinstance(found.exception, critaudit.CritauditError):
            return found.exception.exit_code
        return found.return_value if isinstance(found.return_value, int) else found.exit_code

    return invoke


def test_the_command_exits_with_ten_where_a_threshold_is_broken(run: Callable[..., int], tmp_path: Path):
    (tmp_path / "critaudit.toml").write_text('fail-on = "problem"\n[thresholds."edge.j"]\nmax = 0.1\n')
    assert run("--sarif", "f.sarif", "--junit", "f.xml") == 10
    assert json.loads((tmp_path / "f.sarif").read_text())["runs"][0]["results"]
    assert (tmp_path / "f.xml").read_text().startswith("<?xml")
    (tmp_path / "other.toml").write_text('fail-on = "problem"\n[thresholds."edge.j"]\nmax = 100\n')
    assert run("--config", "other.toml") == 0


def test_a_threshold_about_nothing_is_said_and_the_report_written_all_the_same(run: Callable[..., int], tmp_path: Path):
    (tmp_path / "critaudit.toml").write_text('[thresholds."edge.nonesuch"]\nmax = 0.1\n')
    assert run() == 2
    assert (tmp_path / "critaudit-m.html").exists()


def test_a_bad_configuration_is_said_before_the_work(run: Callable[..., int], tmp_path: Path):
    (tmp_path / "critaudit.toml").write_text("fail-on = 3\n")
    assert run() == 2
    assert not (tmp_path / "critaudit-m.html").exists()
