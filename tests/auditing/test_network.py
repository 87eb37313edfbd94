"""Where there is no network to run: the reason says what to do about it."""

from __future__ import annotations

from pathlib import Path

import torch

import critaudit


def test_given_tensors_of_no_known_network_then_the_reason_names_both_ways_out(tmp_path: Path) -> None:
    torch.save({f"part.{place}.foo": torch.randn(8, 3 + place) for place in range(3)}, tmp_path / "a.pt")

    report = critaudit.audit(tmp_path / "a.pt", only=["signal"])

    assert "--arch" in report.provenance.skipped["signal"]
    assert "critaudit.audit()" in report.provenance.skipped["signal"]
    assert report.model["signal.status"].reason == report.provenance.skipped["signal"]


def test_given_a_chain_without_activation_then_the_reason_names_the_option_that_helps(tmp_path: Path) -> None:
    torch.save({f"{place}.weight": torch.randn(8, 8) for place in range(3)}, tmp_path / "a.pt")

    skipped = critaudit.audit(tmp_path / "a.pt", only=["signal"]).provenance.skipped["signal"]

    assert "--activation" in skipped
    assert "--arch" not in skipped
