"""Comparisons of whole models: fine-tunes, LoRA, quantised copies, checkpoints, reports."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import critaudit
from critaudit.comparing import compare
from critaudit.errors import SourceError


def net(seed: int, widths: tuple[int, ...] = (24, 32, 10)) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def test_a_model_compared_with_itself_did_not_change():
    model = net(0)
    found = compare(model, model)
    assert found.report.model["change.layers_unchanged"].value == 2
    assert "identical" in " ".join(found.report.model["change.summary"].value)
    assert (found.differences["difference"] == 0).all()
    assert not found.report.findings


def test_a_fine_tune_shows_the_layer_that_moved_and_by_how_much():
    a, b = net(0), net(0)
    with torch.no_grad():
        b[2].weight += 0.1 * torch.randn_like(b[2].weight)
    found = compare(a, b)
    relative = {layer.name: layer.measurements["change.relative"].value for layer in found.report.layer_records}
    expected = float((b[2].weight - a[2].weight).detach().norm() / a[2].weight.detach().norm())
    assert relative["0.weight"] == 0.0
    assert relative["2.weight"] == pytest.approx(expected, rel=1e-5)


def test_a_scaled_layer_crosses_the_edge_of_chaos():
    a, b = net(0, (64, 64, 64, 10)), net(0, (64, 64, 64, 10))
    with torch.no_grad():
        b[2].weight *= 4
    findings = [finding for finding in compare(a, b).report.findings if finding.rule == "change.edge"]
    assert [finding.layer for finding in findings] == ["2.weight"]
    assert "chaotic" in findings[0].text


def test_another_head_is_reshaped_and_the_body_compared():
    found = compare(net(0), net(0, (24, 32, 7)))
    assert found.reshaped == ("2.weight",)
    assert [pair.a.name for pair in found.pairs] == ["0.weight"]
    assert any(finding.rule == "change.layers" for finding in found.report.findings)


def test_models_without_a_common_layer_are_refused_in_one_line():
    with pytest.raises(SourceError, match="no layer of one name and shape"):
        compare(net(0, (5, 6)), net(0, (7, 8)))


def test_lora_factors_are_merged_with_their_scale(tmp_path: Path):
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    base.mkdir()
    adapter.mkdir()
    rng = np.random.default_rng(0)
    weight = torch.tensor(rng.standard_normal((16, 12)), dtype=torch.float32)
    other = torch.tensor(rng.standard_normal((12, 16)), dtype=torch.float32)
    down = torch.tensor(rng.standard_normal((2, 12)), dtype=torch.float32)
    up = torch.tensor(rng.standard_normal((16, 2)), dtype=torch.float32)
    save_file({"layer.q_proj.weight": weight, "layer.o_proj.weight": other}, base / "model.safetensors")
    names = ("base_model.model.layer.q_proj.lora_A.weight", "base_model.model.layer.q_proj.lora_B.weight")
    save_file(dict(zip(names, (down, up), strict=True)), adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 8}))
    found = compare(base, adapter)
    layers = {layer.name: layer.measurements for layer in found.report.layer_records}
    step = 4.0 * (up @ down)
    q = layers["layer.q_proj.weight"]
    assert q["change.relative"].value == pytest.approx(float(step.norm() / weight.norm()), rel=1e-5)
    assert q["change.step_stable_rank"].value <= 2.0 + 1e-5
    assert layers["layer.o_proj.weight"]["change.relative"].value == 0.0
    assert "s = 4" in " ".join(found.report.model["change.summary"].value)


def test_a_half_precision_copy_is_close_and_says_so(tmp_path: Path):
    model = net(3)
    torch.save(model.state_dict(), tmp_path / "full.pt")
    torch.save({name: value.half() for name, value in model.state_dict().items()}, tmp_path / "half.pt")
    found = compare(tmp_path / "full.pt", tmp_path / "half.pt")
    for layer in found.report.layer_records:
        assert 0 < layer.measurements["change.relative"].value < 2**-11
        assert layer.measurements["change.cosine"].value == pytest.approx(1.0, abs=1e-6)


def test_two_reports_are_compared_without_their_models(tmp_path: Path):
    a = critaudit.audit(net(0), only=["entries", "edge"]).to_json(tmp_path / "a.json")
    b = critaudit.audit(net(1), only=["entries", "edge"])
    found = compare(a, b)
    layer = found.report.layer_records[0]
    assert layer.measurements["change.relative"].status == "not_applicable"
    assert layer.measurements["change.entries.std"].status == "measured"


def test_a_comparison_is_a_report_that_reads_back_and_renders(tmp_path: Path):
    found = critaudit.compare(net(0), net(1))
    path = found.to_json(tmp_path / "c.json")
    again = critaudit.Report.load(path)
    assert again.to_dict() == found.report.to_dict()
    page = found.to_html(tmp_path / "c.html").read_text()
    assert "have 2 layers in common" in page
    assert "change_by_depth" in found.report.figures


def gpt2(folder: Path, seed: int = 0) -> dict[str, torch.Tensor]:
    """GPT-2's names and its Conv1D layers, which are stored as inputs × outputs."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, inputs, outputs in (("attn.c_attn", 8, 24), ("attn.c_proj", 8, 8), ("mlp.c_fc", 8, 32)):
        tensors[f"h.0.{name}.weight"] = torch.randn(inputs, outputs, generator=generator)
        tensors[f"h.0.{name}.bias"] = torch.zeros(outputs)
    tensors["wte.weight"] = torch.randn(50, 8, generator=generator)
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / "model.safetensors")
    return tensors


def test_adapters_of_transposed_packed_and_embedded_layers_give_the_merged_model(tmp_path: Path):
    base = gpt2(tmp_path / "base")
    generator = torch.Generator().manual_seed(1)
    factors, merged = {}, dict(base)
    for name, inputs, outputs in (("h.0.attn.c_attn", 8, 24), ("h.0.attn.c_proj", 8, 8), ("wte", 50, 8)):
        down, up = torch.randn(2, inputs, generator=generator), torch.randn(outputs, 2, generator=generator)
        a, b = ("lora_embedding_A", "lora_embedding_B") if name == "wte" else ("lora_A.weight", "lora_B.weight")
        factors[f"base_model.model.transformer.{name}.{a}"] = down
        factors[f"base_model.model.transformer.{name}.{b}"] = up
        merged[f"{name}.weight"] = base[f"{name}.weight"] + 2.0 * (up @ down).T
    for folder, tensors in (("adapter", factors), ("merged", merged)):
        (tmp_path / folder).mkdir()
        name = "adapter_model" if folder == "adapter" else "model"
        save_file(
            {key: value.contiguous() for key, value in tensors.items()}, tmp_path / folder / f"{name}.safetensors"
        )
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "fan_in_fan_out": True}
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(settings))
    found, expected = (compare(tmp_path / "base", tmp_path / other, only=["edge"]) for other in ("adapter", "merged"))
    ours, theirs = ({one.name: one.measurements for one in made.report.layer_records} for made in (found, expected))
    assert ours.keys() == theirs.keys()
    assert len(ours) == 6  # queries, keys and values apart
    for name, measurements in theirs.items():
        relative = ours[name]["change.relative"].value
        assert relative == pytest.approx(measurements["change.relative"].value, rel=1e-5)
        assert (relative == 0.0) == ("c_fc" in name)
    assert (found.b.architecture, found.b.coverage) == (expected.b.architecture, expected.b.coverage)
    assert "3 of 3 adapters merged with s = 2" in " ".join(found.report.model["change.summary"].value)


def adapter(folder: Path, seed: int, **widths: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for layer, width in widths.items():
        factors[f"base_model.model.{layer}.lora_A.weight"] = torch.randn(2, 8, generator=generator)
        factors[f"base_model.model.{layer}.lora_B.weight"] = torch.randn(width, 2, generator=generator)
    folder.mkdir()
    save_file(factors, folder / "adapter_model.safetensors")


def test_an_adapter_that_fits_no_layer_is_a_finding_and_one_of_which_nothing_fits_is_refused(tmp_path: Path):
    (tmp_path / "base").mkdir()
    save_file({"one.weight": torch.randn(6, 8), "two.weight": torch.randn(5, 8)}, tmp_path / "base/model.safetensors")
    adapter(tmp_path / "some", 0, one=6, elsewhere=6)
    report = compare(tmp_path / "base", tmp_path / "some", only=["edge"]).report
    findings = [finding for finding in report.findings if finding.rule == "change.adapters"]
    assert len(findings) == 1
    assert "elsewhere" in findings[0].text
    assert "1 of 2 adapters merged" in " ".join(report.model["change.summary"].value)
    adapter(tmp_path / "none", 0, elsewhere=6)
    with pytest.raises(SourceError, match="none of its 1 adapters fits a layer of base"):
        compare(tmp_path / "base", tmp_path / "none", only=["edge"])


def test_a_layer_may_have_a_scale_of_its_own(tmp_path: Path):
    (tmp_path / "base").mkdir()
    weight = torch.ones(6, 8)
    save_file({"x.one.weight": weight, "x.two.weight": weight.clone()}, tmp_path / "base" / "model.safetensors")
    factors = {f"base_model.model.x.{name}.lora_A.weight": torch.ones(2, 8) for name in ("one", "two")}
    factors |= {f"base_model.model.x.{name}.lora_B.weight": torch.ones(6, 2) for name in ("one", "two")}
    (tmp_path / "tuned").mkdir()
    save_file(factors, tmp_path / "tuned" / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "alpha_pattern": {"two": 6}}
    (tmp_path / "tuned" / "adapter_config.json").write_text(json.dumps(settings))
    layers = compare(tmp_path / "base", tmp_path / "tuned", only=["edge"]).report.layer_records
    relative = [layer.measurements["change.relative"].value for layer in layers]
    assert relative == pytest.approx([2.0, 6.0])


def test_two_adapters_alone_are_compared_factor_by_factor(tmp_path: Path):
    adapter(tmp_path / "a", 0, one=6)
    adapter(tmp_path / "b", 1, one=6)
    report = compare(tmp_path / "a", tmp_path / "b", only=["edge"]).report
    assert len(report.layer_records) == 2
    assert all(layer.measurements["change.relative"].value > 0.5 for layer in report.layer_records)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_layer_with_weights_that_are_no_numbers_is_not_called_identical(value: float):
    a, b = net(0), net(0)
    with torch.no_grad():
        b[0].weight[0, 0] = value
    report = compare(a, b, only=["edge"]).report
    said = " ".join(report.model["change.summary"].value)
    assert "1 layer without a distance" in said
    assert "Their weights are identical" not in said
    assert any(finding.rule == "change.new_finding" for finding in report.findings)
    json.dumps(report.to_dict(), allow_nan=False)


def test_the_activation_of_chains_can_be_named(tmp_path: Path):
    torch.save(net(0).state_dict(), tmp_path / "a.pt")
    torch.save(net(1).state_dict(), tmp_path / "b.pt")
    plain, named = (
        compare(tmp_path / "a.pt", tmp_path / "b.pt", only=["edge"], activation=activation).report.layer_records[0]
        for activation in (None, "relu")
    )
    assert plain.measurements["change.edge.chi1"].status == "undetermined"
    assert named.measurements["change.edge.chi1"].status == "measured"


def test_a_comparison_is_no_side_of_a_comparison(tmp_path: Path):
    path = compare(net(0), net(1), only=["edge"]).to_json(tmp_path / "c.json")
    with pytest.raises(SourceError, match="this is a comparison"):
        compare(path, path)
