"""The Ray engine gives the tables of the local one, and survives the loss of a node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.surveying.zoo import ONLY, make, tables

ROOT = Path(__file__).resolve().parents[2]

_SURVEY = """
import sys, warnings
from critaudit.surveying import survey
found = survey(sys.argv[1].split(","), output=sys.argv[2], only=["edge"], engine="ray", workers=2, time_limit=60)
print("SAID", found.computed, found.reused, found.failed, found.pending)
"""

_NODE_LOST = """
import sys, threading, time
from pathlib import Path
from ray.cluster_utils import Cluster
import ray
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
victim = cluster.add_node(num_cpus=1)
ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
from critaudit.surveying import survey
lost = []
def watch(progress):
    if progress.done == 3 and not lost:
        lost.append(progress.done)
        cluster.remove_node(victim, allow_graceful=False)
        cluster.add_node(num_cpus=1)
found = survey(sys.argv[1], output=sys.argv[2], only=["edge"], engine="ray", workers=1, time_limit=60, progress=watch)
print("SAID", found.computed, found.reused, found.failed, found.pending, len(lost))
ray.shutdown()
cluster.shutdown()
"""


def said(script: str, *arguments: str) -> list[int]:
    """The numbers that a script printed, run in a process of its own: Ray leaves threads and warnings behind."""
    environment = {**os.environ, "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("SAID")]
    assert lines, done.stderr[-2000:]
    return [int(word) for word in lines[-1].split()[1:]]


def test_both_engines_give_equal_tables_for_results_refusals_and_crashes(tmp_path: Path):
    pytest.importorskip("ray")
    from critaudit.surveying import survey

    make(tmp_path / "zoo", 4)
    (tmp_path / "zoo" / "broken.pt").write_text("no model")
    sources = [str(tmp_path / "zoo"), "tests.surveying.faulty:segv", "tests.surveying.faulty:good"]
    survey(sources, output=tmp_path / "local", only=ONLY, workers=2)
    assert said(_SURVEY, ",".join(sources), str(tmp_path / "ray")) == [7, 0, 2, 0]
    assert tables(tmp_path / "ray") == tables(tmp_path / "local")


@pytest.mark.skipif(sys.platform != "linux", reason="starts a cluster of several nodes on this machine")
def test_a_node_that_is_lost_in_the_middle_costs_no_result(tmp_path: Path):
    pytest.importorskip("ray")
    make(tmp_path / "zoo", 8)
    assert said(_NODE_LOST, str(tmp_path / "zoo"), str(tmp_path / "out")) == [8, 0, 0, 0, 1]
