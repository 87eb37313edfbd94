"""Following a training while it runs: a monitor in plain PyTorch, its log, and a controller of weight decay.

Public names are loaded on first use.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from critaudit.training.controller import Controller as Controller
    from critaudit.training.course import read_course as read_course
    from critaudit.training.groups import split_groups as split_groups
    from critaudit.training.log import read_log as read_log
    from critaudit.training.monitor import Monitor as Monitor
    from critaudit.training.sinks import ScalarSink as ScalarSink

_HOMES = {
    "Controller": "controller",
    "Monitor": "monitor",
    "ScalarSink": "sinks",
    "read_course": "course",
    "read_log": "log",
    "split_groups": "groups",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "sinks":
        return import_module("critaudit.training.sinks")
    if name not in _HOMES:
        raise AttributeError(f"module 'critaudit.training' has no attribute {name!r}")
    return getattr(import_module(f"critaudit.training.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(_HOMES)
