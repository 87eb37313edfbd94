"""The audit in a model card: put in, replaced, and nothing else touched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import critaudit
from critaudit.errors import UsageError
from critaudit.report import Report, card

HEAD = "---\nlicense: mit\ntags:\n- tabular\n---\n\n# My model\n\nIt models.\n"


@pytest.fixture(scope="module")
def report() -> Report:
    torch.manual_seed(0)
    return critaudit.audit(nn.Sequential(*(nn.Linear(8, 8) for _ in range(20))), only=["entries", "edge"])


def test_a_section_is_added_once_and_replaced_afterwards(report: Report, tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text(HEAD)
    card.into(report, path)
    first = path.read_text()
    card.into(report, path)
    assert path.read_text() == first
    assert first.startswith(HEAD.rstrip())
    assert first.count(card.BEGIN) == first.count(card.END) == 1


def test_what_stands_behind_the_section_stays(report: Report, tmp_path: Path):
    path = tmp_path / "README.md"
    path.write_text(f"{HEAD}\n{card.BEGIN}\nthe earlier one\n{card.END}\n\n## Citation\n")
    card.into(report, path)
    text = path.read_text()
    assert "the earlier one" not in text
    assert text.endswith("\n\n## Citation\n")


def test_the_hub_still_reads_the_card(report: Report, tmp_path: Path):
    hub = pytest.importorskip("huggingface_hub")
    path = tmp_path / "README.md"
    path.write_text(HEAD)
    card.into(report, path)
    found = hub.ModelCard.load(path)
    assert found.data.license == "mit"
    assert "## Criticality audit" in found.text


def test_a_long_model_shows_its_ends_and_says_how_many_it_leaves_out(report: Report):
    text = card.section(report)
    assert "| … 8 more |" in text
    assert "`0.weight`" in text
    assert "`19.weight`" in text


def test_a_missing_card_is_begun_and_a_broken_one_refused(report: Report, tmp_path: Path):
    assert card.into(report, tmp_path / "new.md").read_text().startswith(card.BEGIN)
    (tmp_path / "bad.md").write_text(f"{card.BEGIN} and no end")
    with pytest.raises(UsageError, match="one pair"):
        card.into(report, tmp_path / "bad.md")
    (tmp_path / "bytes.md").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="no UTF-8"):
        card.into(report, tmp_path / "bytes.md")


def test_names_cannot_break_out_of_the_table(tmp_path: Path):
    model = {"a|b`<script>.weight": torch.randn(6, 6, generator=torch.Generator().manual_seed(0))}
    text = card.section(critaudit.audit(model, only=["entries"]))
    assert "<script>" not in text
    assert "a\\|b'" in text
