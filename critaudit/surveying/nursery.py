"""Imported once by the process that a survey's workers are forked from: all that every audit would load again.

It audits the weights of the small network that ships with critaudit, which imports what an audit imports and fills the
tables that it keeps. No network runs here, so that no thread is started that a fork would lose.
"""

from __future__ import annotations

import torch  # noqa: F401 – what running a network imports, without running one

import critaudit.dynamics.running
import critaudit.sources.hub.reader
import critaudit.sources.onnx.model
import critaudit.sources.safetensors  # noqa: F401
from critaudit.auditing import audit
from critaudit.demo import CHECKPOINTS
from critaudit.report.html import render

render(audit(CHECKPOINTS[-1], only=("entries", "spectrum", "edge"), jobs=1), shared="../assets")
