"""What a project asks of its models: thresholds from its configuration, checked against a report."""

from __future__ import annotations

from critaudit.gates.configuration import Configuration, Threshold, read_configuration
from critaudit.gates.thresholds import gated

__all__ = ["Configuration", "Threshold", "gated", "read_configuration"]
