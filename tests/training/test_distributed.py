"""Two processes under DistributedDataParallel: one log, and the same weights although decays change."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from critaudit.training import read_log

_TRAINING = """
import os, sys
import torch
import torch.distributed as dist
from torch import nn

from critaudit.training import Controller
from tests.training.networks import data, follow, mlp

torch.set_num_threads(1)
model = mlp(depth=2)
follow(model, torch.optim.SGD(model.parameters(), lr=0.1)).close()  # loads everything once
rank, folder = 0 if os.fork() else 1, sys.argv[1]
dist.init_process_group("gloo", init_method=f"file://{folder}/join", rank=rank, world_size=2)
model = mlp(depth=2)
wrapped = nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.SGD(wrapped.parameters(), lr=0.2)
monitor = follow(wrapped, optimizer, log=f"{folder}/run.jsonl", every=10)
controller = Controller(monitor, target=0.5, every=5, split_groups=True)
assert monitor.is_active == (rank == 0)
inputs, labels = data()
torch.manual_seed(rank)  # every process sees its own batches
for _ in range(60):
    batch = torch.randint(0, len(inputs), (16,))
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(wrapped(inputs[batch]), labels[batch])
    loss.backward()
    optimizer.step()
    monitor.step(loss=loss)
monitor.close()
decays = [group["weight_decay"] for group in optimizer.param_groups]
torch.save([model.state_dict(), decays], f"{folder}/{rank}.pt")
dist.barrier()
dist.destroy_process_group()
if rank == 0:
    os.wait()
"""


def test_two_processes_stay_the_same_and_one_writes(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", _TRAINING, str(tmp_path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (first, decays), (second, others) = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert decays == others
    assert any(decays)
    log = read_log(tmp_path / "run.jsonl")
    assert [record.step for record in log.records] == [0, 1, 10, 20, 30, 40, 50, 60]
    assert log.changes
    assert log.records[-1].layers[0].signal is not None
    assert log.ended == "closed"
