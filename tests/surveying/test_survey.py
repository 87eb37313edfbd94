"""Surveys lose nothing, compute nothing twice, and give equal tables however they are run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import critaudit
from critaudit.errors import UsageError
from critaudit.report import Report
from critaudit.surveying import Progress, survey
from critaudit.surveying.places import StoreError
from critaudit.surveying.store import Failure
from critaudit.surveying.summary import median_interval
from tests.surveying.zoo import ONLY, make, results, tables


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("zoo")
    make(folder / "nested", 5)
    (folder / "broken.pt").write_text("this is no model")
    return folder


@pytest.fixture(scope="module")
def done(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("done")
    survey(zoo, output=output, only=ONLY, workers=1)
    return output


def test_every_source_has_a_row_and_every_layer_one(zoo: Path, tmp_path: Path):
    seen: list[Progress] = []
    found = survey(zoo, output=tmp_path / "out", only=ONLY, workers=2, progress=seen.append)
    assert (len(found), found.computed, found.reused, found.failed, found.pending) == (6, 6, 0, 1, 0)
    models, layers = found.models, found.layers
    assert list(models["status"]) == ["refused"] + 5 * ["audited"]
    assert models["reason"][0].startswith("broken.pt: this is a text file")
    assert len(layers) == 10
    assert isinstance(layers, pd.DataFrame)
    assert [progress.done for progress in seen] == list(range(7))
    assert seen[0].left is None
    assert seen[-1].left == 0.0


def test_the_tables_hold_what_the_audit_of_one_model_gives(zoo: Path, done: Path):
    path = zoo / "nested" / "model-000.npz"
    alone = critaudit.audit(path, only=ONLY)
    row = pd.read_csv(done / "layers.csv").query("source == @path", local_dict={"path": str(path)}).iloc[0]
    first = alone.layer_records[0]
    assert row["name"] == first.name
    assert row["edge.j"] == first.measurements["edge.j"].value
    assert (row["edge.j.low"], row["edge.j.high"]) == first.measurements["edge.j"].interval


@pytest.mark.parametrize("workers", [2, 4])
def test_the_number_of_workers_changes_no_byte_of_the_tables(zoo: Path, done: Path, tmp_path: Path, workers: int):
    survey(zoo, output=tmp_path, only=ONLY, workers=workers)
    assert tables(tmp_path) == tables(done)


def test_a_second_run_computes_nothing_and_touches_no_result(zoo: Path, done: Path):
    before = results(done)
    again = survey(zoo, output=done, only=ONLY)
    assert (again.computed, again.reused) == (0, 6)
    assert results(done) == before


def test_only_what_changed_is_computed_again(tmp_path: Path):
    paths = make(tmp_path / "zoo", 3)
    first = survey(tmp_path / "zoo", output=tmp_path / "out", only=ONLY)
    make(tmp_path / "new", 4, seed=9)
    paths[1].write_bytes((tmp_path / "new" / "model-003.npz").read_bytes())
    second = survey(tmp_path / "zoo", output=tmp_path / "out", only=ONLY)
    assert (first.computed, second.computed, second.reused) == (3, 1, 2)
    other = survey(tmp_path / "zoo", output=tmp_path / "out", only=ONLY, seed=1)
    assert other.computed == 3


def test_a_factory_is_run_again_when_its_file_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    code = "import torch\ndef make():\n    torch.manual_seed({})\n    return torch.nn.Linear(4, 4)\n"
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_factory.py").write_text(code.format(0))
    first = survey("a_factory:make", output=tmp_path / "out", only=ONLY)
    assert survey("a_factory:make", output=tmp_path / "out", only=ONLY).computed == 0
    (tmp_path / "a_factory.py").write_text(code.format(1))
    second = survey("a_factory:make", output=tmp_path / "out", only=ONLY)
    assert second.computed == 1
    assert list(first.models["status"]) == list(second.models["status"]) == ["audited"]


def test_equal_content_under_two_names_is_audited_once(tmp_path: Path):
    path = make(tmp_path / "zoo", 1)[0]
    (tmp_path / "zoo" / "copy.npz").write_bytes(path.read_bytes())
    found = survey(tmp_path / "zoo", output=tmp_path / "out", only=ONLY)
    assert (len(found), found.computed) == (2, 1)
    assert list(found.models["status"]) == ["audited", "audited"]


def test_a_damaged_result_is_noticed_and_computed_again(tmp_path: Path):
    make(tmp_path / "zoo", 3)
    output = tmp_path / "out"
    survey(tmp_path / "zoo", output=output, only=ONLY)
    expected = tables(output)
    victim = sorted((output / "reports").iterdir())[1]
    content = bytearray(victim.read_bytes())
    place = content.index(b'"value": ') + 9
    content[place] = content[place] ^ 1
    victim.write_bytes(content)
    again = survey(tmp_path / "zoo", output=output, only=ONLY)
    assert (again.computed, again.reused) == (1, 2)
    assert tables(output) == expected


def test_a_truncated_result_and_a_stray_file_do_no_harm(tmp_path: Path):
    make(tmp_path / "zoo", 2)
    output = tmp_path / "out"
    survey(tmp_path / "zoo", output=output, only=ONLY)
    victim = min((output / "reports").iterdir())
    victim.write_bytes(victim.read_bytes()[:100])
    (output / "reports" / "notes.txt").write_text("mine")
    (output / "reports" / ".part-abc").write_text("half a file")
    again = survey(tmp_path / "zoo", output=output, only=ONLY)
    assert again.computed == 1
    assert (output / "reports" / "notes.txt").exists()
    assert not (output / "reports" / ".part-abc").exists()


def test_results_are_read_back_by_source(zoo: Path, done: Path):
    found = survey(zoo, output=done, only=ONLY)
    assert isinstance(found.result(str(zoo / "nested" / "model-001.npz")), Report)
    broken = found.result(str(zoo / "broken.pt"))
    assert isinstance(broken, Failure)
    assert broken.kind == "refused"
    assert len(list(found.reports())) == 5
    with pytest.raises(UsageError, match="no such source"):
        found.result("elsewhere.pt")


def test_a_place_behind_a_url_gets_the_same_results(zoo: Path, done: Path):
    import fsspec

    found = survey(zoo, output="memory://survey-test", only=ONLY)
    files = fsspec.filesystem("memory")
    assert found.computed == 6
    for name, content in tables(done).items():
        assert files.cat_file(f"/survey-test/{name}") == content
    assert survey(zoo, output="memory://survey-test", only=ONLY).reused == 6


def test_two_surveys_on_one_folder_do_not_mix(zoo: Path, tmp_path: Path):
    from critaudit.surveying.places import place_at

    with place_at(tmp_path).locked(), pytest.raises(UsageError, match="another survey"):
        survey(zoo, output=tmp_path, only=ONLY)


@pytest.mark.parametrize(
    "options",
    [{"workers": 0}, {"time_limit": 0}, {"memory_limit": -1}, {"engine": "cloud"}, {"only": ["none"]}, {"gpus": 1.0}],
)
def test_options_that_make_no_sense_are_refused(zoo: Path, tmp_path: Path, options: dict[str, object]):
    with pytest.raises(UsageError):
        survey(zoo, output=tmp_path, **options)  # type: ignore[arg-type]


def test_an_output_that_cannot_be_a_folder_is_refused_in_one_line(zoo: Path, tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="cannot be made"):
        survey(zoo, output=tmp_path / "file" / "out", only=ONLY)


def test_text_that_a_spreadsheet_would_run_is_quoted(tmp_path: Path):
    np.savez(tmp_path / "m.npz", **{"=cmd()": np.random.default_rng(0).standard_normal((4, 4))})
    survey(tmp_path / "m.npz", output=tmp_path / "out", only=ONLY)
    assert ",'=cmd()" in (tmp_path / "out" / "layers.csv").read_text()


def test_odd_names_of_files_stop_nothing_and_stand_in_every_table(tmp_path: Path):
    folder = tmp_path / "zoo"
    odd = ["a b.npz", "new\nline.npz", "<b>&'\".npz", "ü.npz", "bytes\udcff.npz"]
    for path, name in zip(make(folder, len(odd)), odd, strict=True):
        path.rename(folder / name)
    found = survey(folder, output=tmp_path / "out", only=ONLY)
    assert found.failed == 0
    written = {Path(source).name for source in found.models["source"]}
    assert written == {*odd[:4], "bytes\\xff.npz"}
    listed = pd.read_csv(tmp_path / "out" / "models.csv")["source"]
    assert set(found.layers["source"]) == set(found.models["source"]) == set(listed)
    assert "<b>" not in (tmp_path / "out" / "index.html").read_text().partition("<main")[2].partition("<script")[0]


def test_tables_are_the_same_from_reports_whose_rows_are_gone_or_damaged(zoo: Path, done: Path):
    expected, rows = tables(done), sorted((done / "rows").iterdir())
    kept = [path.read_bytes() for path in rows]
    assert len(rows) == 5
    rows[0].unlink()
    rows[1].write_bytes(kept[1].replace(b"npz", b"pt"))
    rows[2].write_bytes(kept[3])
    assert survey(zoo, output=done, only=ONLY).computed == 0
    assert tables(done) == expected
    for path, content in zip(rows, kept, strict=True):
        path.write_bytes(content)


def test_results_are_readable_by_those_whom_the_umask_allows(done: Path):
    mask = os.umask(0)
    os.umask(mask)
    for path in (done / "index.html", *done.glob("reports/*.json"), done / "layers.csv"):
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_the_interval_of_a_median_holds_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    for size in (6, 9, 54):
        held = 0
        for _ in range(1000):
            low, high = median_interval(rng.standard_cauchy(size)) or (0.0, 0.0)
            held += low <= 0.0 <= high
        assert held > 930
    assert median_interval(np.arange(5.0)) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet50", "resnet"),
        ("wide_resnet101_2", "resnet"),
        ("resnext50_32x4d", "resnext"),
        ("timm:vit_small_patch16_224", "vit"),
        ("mobilenetv3_small_100", "mobilenet"),
        ("tf_efficientnet_lite0", "efficientnet"),
        ("alexnet", "alexnet"),
        (None, None),
    ],
)
def test_families_are_the_first_words_of_names(name: str | None, expected: str | None):
    from critaudit.surveying.tables import family

    assert family(name) == expected
