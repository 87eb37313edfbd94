"""`critaudit.advise`: from every kind of source to a report with all that was computed, and code that works."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from torch import nn

import critaudit
from critaudit.advice.course import OptimizerSetting
from critaudit.advising.judging import findings
from critaudit.errors import CritauditError, SourceError, UsageError
from tests.advice.courses import course, layer, recorded, recorded_course
from tests.advising.networks import WIDTH, deep, shallow, trained

SCHEMA = json.loads((Path(critaudit.__file__).parent / "report" / "schema.json").read_text())
FAST = {"steps": 10, "lr": 0.1}


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest trials that there are: small batches and no sharpness."""
    monkeypatch.setattr("critaudit.advising.sizing.WORK", 1.0)


@pytest.fixture(scope="module")
def vanishing() -> critaudit.Advice:
    torch.set_num_threads(1)
    return critaudit.advise(deep(), optimizer="SGD", lr=0.1, momentum=0.9, steps=24)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return trained(tmp_path_factory.mktemp("run"), decay=0.5, steps=900)[0]


def values(advice: critaudit.Advice) -> dict[str, object]:
    return {name: held.value for name, held in advice.report.model.items()}


def test_a_network_whose_gradients_vanish_is_a_problem_and_is_told_by_how_much(vanishing: critaudit.Advice) -> None:
    found = next(one for one in vanishing.report.findings if one.rule == "init.present")
    before = vanishing.report.model["init.gradient_change_before"].number
    # The same factor by hand: the gradient at the first weight's output over that at the last hidden one's.
    net = deep()
    arguments = vanishing.initialisation.inputs
    outputs: list[torch.Tensor] = []
    for part in net:
        if isinstance(part, nn.Linear):
            part.register_forward_hook(lambda _m, _i, out: (out.retain_grad(), outputs.append(out))[0])
    labels = torch.zeros(len(arguments[0]), dtype=torch.long)
    nn.functional.cross_entropy(net(*arguments), labels).backward()
    norms = [float(out.grad.norm()) for out in outputs[:-1]]
    assert before == pytest.approx(norms[0] / norms[-1], rel=0.5)  # other labels
    assert before < 1e-3
    assert found.severity == "problem"
    assert "gradients change by a factor of" in found.text
    assert found.caveat is not None
    assert "24 steps" in found.caveat


def test_a_loss_that_moves_late_with_sound_gradients_is_no_problem(vanishing: critaudit.Advice) -> None:
    advice = vanishing.initialisation
    assert advice is not None
    present = replace(advice.present, passes=advice.chosen.passes)
    sound = replace(advice, present=present, candidates=(present, *advice.candidates[1:]))
    found, lost = (next(one for one in findings(it) if one.rule == "init.present") for it in (sound, advice))
    assert (found.severity, lost.severity) == ("warning", "problem")
    for one in (found, lost):
        assert "the loss hardly moves in 24 steps at learning rate 0.100. Recommended: " in one.text


def test_few_samples_are_named_and_the_batch_size_stands_in_the_report() -> None:
    x = torch.randn(20, WIDTH)
    advice = critaudit.advise(shallow(), inputs=x, targets=(x[:, 0] > 0).long(), **FAST)
    assert any("20 samples are few" in one.text for one in advice.report.findings)
    assert advice.report.model["init.batch_size"].value == 8


def test_the_recommendation_can_be_applied_and_its_code_does_the_same(vanishing: critaudit.Advice) -> None:
    one, other = deep(), deep()
    critical = vanishing.apply_(one)
    assert critical is not None
    exec(vanishing.snippet, {"model": other, "inputs": vanishing.initialisation.inputs})
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)
    weight = dict(one.named_parameters())["2.weight"]
    row = vanishing.report.layers.set_index("name").loc["2.weight"]
    sigma_w = math.sqrt(WIDTH * float(weight.detach().double().square().mean()))
    assert row["init.sigma_w"] == pytest.approx(sigma_w, rel=1e-5)
    strength = {}
    one[2].register_forward_hook(lambda _m, _i, out: strength.update(s=float(out.detach().square().mean().sqrt())))
    one(*vanishing.initialisation.inputs)
    assert strength["s"] == pytest.approx(row["init.strength_target"], rel=1e-3)
    assert strength["s"] == pytest.approx(row["init.signal_after"], rel=1e-3)


def test_the_module_stays_as_it_was() -> None:
    net = shallow().eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    critaudit.advise(net, **FAST)
    assert not net.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_the_report_is_an_ordinary_one(vanishing: critaudit.Advice, tmp_path: Path) -> None:
    path = vanishing.to_json(tmp_path / "advice.json")
    jsonschema.validate(json.loads(path.read_text()), SCHEMA)
    read = critaudit.Report.load(path)
    assert read.source.format == "advice"
    assert read.to_dict() == vanishing.report.to_dict()
    kinds = [row.kind for row in vanishing.report.advice]
    assert kinds[:2] == ["init", "learning_rate"]
    assert kinds.count("init") > 1
    page = (vanishing.to_html(tmp_path / "a.html")).read_text()
    read.to_html(tmp_path / "b.html")
    for line in vanishing.initialisation.snippet.split("\n"):
        assert line.replace('"', "&#34;").split("#")[0].strip() in page
    assert (tmp_path / "b.html").read_text() == page
    assert "Copy</button>" in page
    assert "<pre><code>" in vanishing._repr_html_()
    assert "orthogonal" in repr(vanishing) or "gaussian" in repr(vanishing)


def test_figures_show_what_was_measured(vanishing: critaudit.Advice) -> None:
    figures = vanishing.report.figures
    names = {"initialisation_by_depth", "initialisation_trials", "initialisation_rates", "initialisation_candidates"}
    assert names <= set(figures)
    depth = figures.spec("initialisation_by_depth")
    bold = [one for one in depth["data"] if one["name"] == "present weights" and one.get("yaxis") == "y2"]
    gradients = vanishing.report.layers["init.gradient_before"].tolist()
    assert bold[0]["y"] == pytest.approx(gradients, rel=1e-4)
    trials = figures.spec("initialisation_trials")
    chosen = next(one for one in trials["data"] if one["name"] == "recommended weights")
    assert chosen["y"] == pytest.approx(vanishing.initialisation.chosen.trial.losses, rel=1e-4)
    shaded = next(one for one in figures.spec("initialisation_rates")["layout"]["shapes"] if one["type"] == "rect")
    assert (shaded["x0"], shaded["x1"]) == vanishing.initialisation.rates.good
    marks = figures.spec("initialisation_candidates")["data"]
    assert len(marks) == len(values(vanishing)["init.score_names"])
    assert sum(not one["marker"]["symbol"].endswith("open") for one in marks) == 1


def test_good_weights_are_kept(vanishing: critaudit.Advice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("critaudit.advising.sizing.WORK", 1e10)
    net = deep()
    vanishing.apply_(net)
    again = critaudit.advise(net, optimizer="SGD", lr=0.1, momentum=0.9, steps=24)
    assert again.initialisation.chosen is again.initialisation.present
    assert again.apply_(net) is None
    assert "Keep the weights" in again.snippet
    assert "init.loss_after" not in again.report.model
    rules = {one.rule: one.severity for one in again.report.findings}
    assert rules["init.kept"] == "info"
    assert "problem" not in rules.values()


def test_the_users_own_task_is_tried(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    inputs, targets = rng.standard_normal((64, WIDTH)).astype(np.float32), rng.integers(0, 4, 64)
    np.save(tmp_path / "x.npy", inputs)
    np.save(tmp_path / "y.npy", targets)
    from_files = critaudit.advise(shallow(), inputs=tmp_path / "x.npy", targets=str(tmp_path / "y.npy"), **FAST)
    from_arrays = critaudit.advise(shallow(), inputs=inputs, targets=targets, **FAST)
    assert from_files.initialisation.task == "the targets given"
    assert from_files.initialisation.samples == 64
    assert values(from_files) == values(from_arrays)
    with pytest.raises(UsageError, match="63 targets"):
        critaudit.advise(shallow(), inputs=inputs, targets=targets[1:], **FAST)


def test_a_checkpoint_gives_both_with_fresh_weights_and_its_own_optimizer(checkpoint: Path) -> None:
    advice = critaudit.advise(checkpoint, activation="tanh", steps=10)
    assert advice.weight_decay.weight_decay.number is not None
    assert advice.initialisation.setting.name == "AdamW"
    assert advice.initialisation.setting.weight_decay == 0.5
    saved = torch.load(checkpoint)["model"]["0.weight"]
    sigma_w = math.sqrt(WIDTH * float(saved.double().square().mean()))
    row = advice.report.layers.set_index("name").loc["0.weight"]
    assert row["init.sigma_w_before"] == pytest.approx(1 / math.sqrt(3), rel=0.15)  # PyTorch's Linear
    assert row["decay.j_squared"] == pytest.approx(sigma_w**2, rel=0.05)
    assert row["decay.present"] == 0.5
    assert {"init", "weight_decay"} <= {one.kind for one in advice.report.advice}
    assert advice.report.source.sha256 is not None
    assert "AdamW(" in advice.snippet
    assert ("critical_(" in advice.snippet) == (advice.initialisation.recipe is not None)


def test_only_one_part_can_be_asked_for(checkpoint: Path) -> None:
    decay = critaudit.advise(checkpoint, activation="tanh", only="weight-decay")
    assert decay.initialisation is None
    assert decay.weight_decay is not None
    assert decay.apply_(shallow()) is None
    start = critaudit.advise(checkpoint, activation="tanh", only="init", steps=8)
    assert start.weight_decay is None
    assert start.initialisation is not None
    with pytest.raises(UsageError, match="init or weight-decay"):
        critaudit.advise(checkpoint, only="everything")


def test_checkpoints_of_one_training_in_a_folder_or_a_list(tmp_path: Path) -> None:
    paths = trained(tmp_path, decay=0.0, steps=60, every=10)
    listed = critaudit.advise(paths, only="weight-decay", activation="tanh", dataset_size=128, batch_size=32)
    folder = critaudit.advise(tmp_path, only="weight-decay", activation="tanh", dataset_size=128, batch_size=32)
    assert {one.name: one.measurements for one in listed.report.layer_records} == {
        one.name: one.measurements for one in folder.report.layer_records
    }
    course_ = listed.report.layer_records[0].measurements
    assert course_["decay.course_at"].value == (2.5, 5.0, 7.5, 10.0, 12.5, 15.0)
    weight = torch.load(paths[-1])["model"]["0.weight"].double()
    assert course_["decay.course"].value[-1] == pytest.approx(WIDTH * float(weight.var(correction=0)), rel=1e-6)
    assert "decay_course" in listed.report.figures


def test_a_course_has_its_decay_drawn_to_the_edge() -> None:
    run = next(one for one in recorded() if one["optimizer"] == "SGD" and one["decay"] == 0.0)
    advice = critaudit.advise(recorded_course(run, until=12))
    value = advice.weight_decay.weight_decay.number
    assert values(advice)["decay.weight_decay"] == value
    assert "no network" not in advice.report.provenance.skipped["initialisation"]
    spec = advice.report.figures.spec("decay_course")
    crossing = next(one for one in spec["data"] if one.get("name") == "meets the edge")
    held = advice.report.layer_records[0].measurements
    now, at = held["decay.course"].value[-1], held["decay.course_at"].value[-1]
    expected = at + (held["decay.target"].number - now) / held["decay.growth_per_epoch"].number
    assert crossing["x"] == [pytest.approx(expected, rel=1e-5)]
    assert crossing["y"] == [pytest.approx(held["decay.target"].number)]
    table = [name for name in advice.report.model if name.startswith("decay.equal")]
    assert len(table) == 4


def test_names_of_layers_stay_names_in_the_code() -> None:
    evil = 'a": 0}; raise SystemExit("owned")  # '
    steps, rising = [100.0 * k for k in range(12)], [0.3 + 1e-3 * k for k in range(12)]
    held = course(layer(steps, rising, name=evil), layer(steps, [0.3 + 9e-3 * k for k in range(12)], name="b"))
    advice = critaudit.advise(held)
    assert advice.weight_decay.differ
    model = nn.Linear(2, 2)
    scope: dict[str, object] = {"model": model, "torch": torch}
    exec(advice.snippet, scope)
    assert set(scope["decays"]) == {evil, "b"}  # type: ignore[call-overload]


def test_what_breaks_in_one_part_costs_nothing_of_the_other(checkpoint: Path) -> None:
    advice = critaudit.advise(checkpoint, activation="tanh", inputs=np.zeros((8, 3), np.float32), steps=8)
    assert advice.initialisation is None
    assert advice.weight_decay.weight_decay.number is not None
    assert any("does not run on the inputs" in problem for problem in advice.report.coverage.problems)
    assert any(one.rule == "advice.broken" for one in advice.report.findings)


def test_a_live_optimizer_tells_of_the_training_too() -> None:
    net = shallow()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    advice = critaudit.advise(net, optimizer=optimizer, steps=8)
    assert advice.initialisation.setting.nesterov
    assert advice.weight_decay.weight_decay.status == "undetermined"
    assert any(one.rule == "decay.undetermined" for one in advice.report.findings)


def test_a_hubs_architecture_is_taken_untrained_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    advice = critaudit.advise("timm:test_resnet", steps=8, batch_size=8)
    assert advice.initialisation.steps == 8
    assert any("32 pixels" in one.text for one in advice.report.findings)
    assert advice.report.model["init.sharpness_before"].status == "undetermined"
    assert advice.report.layers["init.role"].notna().all()
    assert "weight decay" in advice.report.provenance.skipped


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"optimizer": "Adamw"}, "did you mean AdamW"),
        ({"lr": 0.0}, "lr = 0"),
        ({"momentum": 1.0}, "below 1"),
        ({"steps": 4}, "at least 8"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"inputs": torch.randn(20, WIDTH), "targets": "missing.npy"}, "missing.npy: no such file"),
        ({"inputs": "missing.npy"}, "missing.npy: no such file"),
        ({"device": "tpu:9"}, "cannot be used"),
        ({"activation": "tonh"}, "tonh"),
    ],
)
def test_options_that_make_no_sense_are_one_line(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        critaudit.advise(shallow(), **options)


def test_a_source_without_anything_to_advise_on_says_both_reasons(tmp_path: Path) -> None:
    path = trained(tmp_path, decay=0.0, steps=1, state=False)[0]
    with pytest.raises(SourceError, match=r"weight decay: .*optimizer.*; initialisation: no network to run"):
        critaudit.advise(path)
    with pytest.raises(CritauditError, match="no such file"):
        critaudit.advise("missing.pt")


def test_an_optimizer_that_is_told_serves_checkpoints_without_one(tmp_path: Path) -> None:
    paths = trained(tmp_path, decay=0.0, steps=60, every=10, state=False)
    advice = critaudit.advise(paths, only="weight-decay", activation="tanh", optimizer="AdamW", lr=0.01)
    assert advice.weight_decay.layers[0].setting == replace(
        OptimizerSetting("AdamW", 0.01, weight_decay=0.01), decoupled=True
    )


def test_token_ids_in_a_file_reach_a_network_that_takes_them(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(32, 8), nn.Tanh(), nn.Linear(8, 4))
    ids = np.random.default_rng(0).integers(0, 20, (40, 4))
    np.save(tmp_path / "x.npy", ids)
    np.save(tmp_path / "y.npy", ids[:, 0] % 4)
    found = critaudit.advise(net, inputs=tmp_path / "x.npy", targets=tmp_path / "y.npy", **FAST)
    assert found.initialisation is not None
    assert found.initialisation.inputs[0].dtype == torch.int64
    heard = critaudit.audit(net, inputs=tmp_path / "x.npy", only=["signal"])
    assert heard.layer_records[0].measurements["signal.strength"].number is not None


def test_what_a_user_gets_wrong_is_named_as_such(tmp_path: Path) -> None:
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n{"b": 2}\n')
    with pytest.raises(UsageError, match="no header of a Monitor's log"):
        critaudit.advise(tmp_path / "other.jsonl")
    with pytest.raises(UsageError, match="targets were given without inputs"):
        critaudit.advise(shallow(), targets=torch.zeros(9, dtype=torch.long), **FAST)
    broken = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH + 2, 3))
    with pytest.raises(UsageError, match=r"no usual input fits Sequential.*16 per sample: RuntimeError: mat1 and mat2"):
        critaudit.advise(broken, **FAST)
