"""Advice on initialisation: candidates are made, passed forward and backward once, and tried for a few steps."""

from __future__ import annotations

from critaudit.advice.initial.advising import InitialisationAdvice, initialisation
from critaudit.advice.initial.candidates import Candidate, Recipe

__all__ = ["Candidate", "InitialisationAdvice", "Recipe", "initialisation"]
