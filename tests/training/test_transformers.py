"""The callback with the real Trainer of Hugging Face, on a small BERT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from critaudit.training import read_log

transformers = pytest.importorskip("transformers", reason="transformers is not installed (critaudit[transformers])")
pytest.importorskip("accelerate", reason="accelerate is not installed (critaudit[transformers])")
pytestmark = pytest.mark.filterwarnings("ignore")  # the packages' own deprecations


class Texts(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
    def __init__(self) -> None:
        source = torch.Generator().manual_seed(0)
        self.tokens = torch.randint(5, 50, (48, 8), generator=source)

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        return {"input_ids": self.tokens[place], "labels": (self.tokens[place, 0] > 25).long()}


def fit(folder: Path, callbacks: list[Any], *, epochs: int = 2, resume: str | None = None, batch: int = 4) -> Any:
    transformers.set_seed(0)
    config = transformers.BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=2
    )
    model = transformers.BertForSequenceClassification(config)
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=2,
        num_train_epochs=epochs,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        save_steps=6,
        seed=0,
    )
    trainer = transformers.Trainer(model=model, args=arguments, train_dataset=Texts(), callbacks=callbacks)
    trainer.train(resume_from_checkpoint=resume)
    return model


def test_a_trainer_is_followed_resumed_and_not_changed(tmp_path: Path):
    from critaudit.training.transformers import MonitorCallback

    callback = MonitorCallback(log=tmp_path / "run.jsonl", report=tmp_path / "run.html", every=1)
    model = fit(tmp_path / "a", [callback])
    plain = fit(tmp_path / "b", [])
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)
    log = read_log(tmp_path / "run.jsonl")
    assert [record.step for record in log.records] == list(range(13))
    assert (log.header.dataset_size, log.header.batch_size) == (48, 8)
    named = {layer.name: place for place, layer in enumerate(log.header.layers)}
    query = named["bert.encoder.layer.0.attention.self.query.weight"]
    assert log.records[-1].layers[query].signal is not None
    assert log.records[-1].layers[query].adaptivity is not None
    assert not any("embeddings" in name for name in named)
    assert log.ended == "completed"
    assert "BertForSequenceClassification" in (tmp_path / "run.html").read_text()
    callback = MonitorCallback(log=tmp_path / "run.jsonl", every=1)
    fit(tmp_path / "a", [callback], epochs=2, resume=str(tmp_path / "a" / "checkpoint-6"))
    log = read_log(tmp_path / "run.jsonl")
    assert log.restarts == (6,)
    assert [record.step for record in log.records] == list(range(13))


def test_a_batch_larger_than_the_data_is_all_of_it(tmp_path: Path):
    from critaudit.training.transformers import MonitorCallback

    fit(tmp_path / "a", [MonitorCallback(log=tmp_path / "run.jsonl")], epochs=1, batch=40)
    log = read_log(tmp_path / "run.jsonl")
    assert (log.header.dataset_size, log.header.batch_size) == (48, 48)
