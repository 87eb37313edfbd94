"""Factories of models that end their worker in every way that a worker can end."""

from __future__ import annotations

import ctypes
import os
import signal
import time

import torch
from torch import nn


def good() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(6, 4)


def segv() -> nn.Module:
    ctypes.string_at(0)
    raise AssertionError


def kill() -> nn.Module:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def leave() -> nn.Module:
    os._exit(7)


def leave_well() -> nn.Module:
    os._exit(0)


def hang() -> nn.Module:
    while True:
        time.sleep(60)


def eat() -> nn.Module:
    kept = [torch.ones(2**26) for _ in range(400)]  # 100 GiB
    return nn.Linear(len(kept), 1)


def fail() -> nn.Module:
    raise ZeroDivisionError("no luck")


def chatty() -> nn.Module:
    print("about to leave because of the weather", flush=True)
    os._exit(3)
