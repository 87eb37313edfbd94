"""Seeded mutation fuzzing of good small files of every format.

The invariant: a mutated file ends in a view or in a CritauditError, within time and memory. Zip members and
safetensors headers are mutated inside their container, with checksums and lengths made right again, so that mutations
reach the parsers behind them.
"""

from __future__ import annotations

import io
import random
import struct
import time
import traceback
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.hostile import rawzip
from tests.hostile.case import visible
from tests.hostile.cases_truncated import good_files
from tests.hostile.sandbox import Nursery

BATCH = 250
SLOW = 10.0
_INTERESTING = (0, 1, 7, 8, 127, 128, 255, 256, 32767, 65535, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 2**64 - 1)
_TOKENS: tuple[bytes, ...] = (
    *(
        b"(",
        b")",
        b"0",
        b"1",
        b"2",
        b"N",
        b".",
        b"]",
        b"}",
        b"\x85",
        b"\x86",
        b"\x87",
        b"\x8f",
        b"\x91",
        b"\x93",
        b"\x94",
    ),
    *(
        b"R",
        b"\x81",
        b"\x92",
        b"b",
        b"Q",
        b"t",
        b"u",
        b"s",
        b"e",
        b"a",
        b"h\0",
        b"q\0",
        b"o",
        b"ctorch\nFloatStorage\n",
    ),
    *(
        b"cbuiltins\nexec\n",
        b"X\0\0\0\0",
        b"\x8a\x01\xff",
        b"J\xff\xff\xff\xff",
        b"I-1\n",
        b"\x8e" + b"\xff" * 8,
        b"Fnan\n",
    ),
    *(
        b"PK\x03\x04",
        b"PK\x01\x02",
        b"PK\x05\x06",
        b"PK\x06\x06",
        b"\x93NUMPY",
        b"null",
        b"-1",
        b"1e999",
        b"[[",
        b"}}",
        b'""',
    ),
    *(b"\xff" * 10, b"\x0b", b"\x3a\x05", b"\x00" * 8, b"data.pkl", b"../", b"F64", b"[0,9]", b"True", b"<f8", b"|O"),
)
Mutation = Callable[[bytearray, random.Random], None]


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _byte(data: bytearray, rng: random.Random) -> None:
    data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))


def _integer(data: bytearray, rng: random.Random) -> None:
    width = rng.choice((1, 2, 4, 8))
    place = rng.randrange(len(data))
    value = rng.choice(_INTERESTING) + rng.choice((-1, 0, 0, 1))
    data[place : place + width] = (value % 2 ** (8 * width)).to_bytes(width, rng.choice(("little", "little", "big")))


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def _drop(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    del data[start : start + rng.choice((1, 2, 4, 16, 64))]


def _repeat(data: bytearray, rng: random.Random) -> None:
    start = rng.randrange(len(data))
    piece = data[start : start + rng.choice((1, 2, 8, 32, 200))]
    data[start:start] = piece * rng.choice((1, 1, 2, 50, 1000))


def _token(data: bytearray, rng: random.Random) -> None:
    place = rng.randrange(len(data))
    token = rng.choice(_TOKENS)
    data[place : place + (len(token) if rng.random() < 0.5 else 0)] = token


def _digits(data: bytearray, rng: random.Random) -> None:
    places = [index for index, byte in enumerate(data) if 0x30 <= byte <= 0x39]
    if places:
        place = rng.choice(places)
        data[place : place + 1] = rng.choice((b"0", b"9", b"-1", b"4294967296", b"1.5", b"9" * 30))


def _swap(data: bytearray, rng: random.Random) -> None:
    length = rng.choice((1, 4, 16, 64))
    first, second = sorted(rng.randrange(len(data)) for _ in range(2))
    if first + length <= second:
        one, two = bytes(data[first : first + length]), bytes(data[second : second + length])
        data[first : first + length], data[second : second + length] = two, one


def _splice(data: bytearray, rng: random.Random) -> None:
    _, other = rng.choice(list(good_files().values()))
    start = rng.randrange(len(other))
    place = rng.randrange(len(data))
    data[place : place + rng.choice((0, 16))] = other[start : start + rng.choice((4, 16, 64, 400))]


_MUTATIONS: Sequence[Mutation] = (
    _flip,
    _flip,
    _byte,
    _integer,
    _integer,
    _cut,
    _drop,
    _repeat,
    _token,
    _token,
    _digits,
    _swap,
    _splice,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """A mutated file that broke the invariant. `mutant(seed)` makes it again."""

    seed: int
    what: str


@dataclass(frozen=True, slots=True)
class Campaign:
    """What a fuzzing run did. `viewed` counts the mutants that were still readable."""

    iterations: int
    viewed: int
    refused: int
    slowest: float
    growth: int
    failures: tuple[Failure, ...]


def mutant(seed: int) -> tuple[str, bytes]:
    """The file that a seed stands for: a name and its bytes."""
    rng = random.Random(seed)
    file, good = rng.choice(list(good_files().values()))
    if good[:4] == b"PK\x03\x04" and rng.random() < 0.75:
        return file, _inside_zip(good, rng)
    if file.endswith(".safetensors") and rng.random() < 0.75:
        length = struct.unpack("<Q", good[:8])[0]
        header = _mutate(good[8 : 8 + length], rng)
        return file, struct.pack("<Q", len(header)) + header + good[8 + length :]
    return file, _mutate(good, rng)


def _mutate(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        if changed:
            rng.choice(_MUTATIONS)(changed, rng)
    return bytes(changed)


def _inside_zip(good: bytes, rng: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    parsed = [index for index, (name, _) in enumerate(members) if name.endswith((".pkl", ".json", ".npy", ".pt"))]
    chosen = rng.choice(parsed if rng.random() < 0.8 else range(len(members)))
    name, data = members[chosen]
    members[chosen] = (name, _mutate(data, rng))
    return rawzip.archive([rawzip.Member(name, data) for name, data in members])


def batch(seen: list[str], *, start: int, count: int) -> dict[str, Any]:
    """Try the seeds [start, start + count) in this process; its standard output ends with the seed in work."""
    from critaudit.errors import CritauditError
    from critaudit.sources import load
    from tests.hostile.sandbox import watch

    folder = Path.cwd() / "out"
    folder.mkdir()
    failures: list[tuple[int, str]] = []
    slowest, viewed = 0.0, 0
    made = [(seed, *mutant(seed)) for seed in range(start, start + count)]
    for seed, file, data in made:
        (folder / f"{seed}-{file}").write_bytes(data)
    watch(seen)
    for seed, file, _ in made:
        print(seed, flush=True)
        began = time.perf_counter()
        try:
            view = load(folder / f"{seed}-{file}")
            viewed += 1
            for matrix in view.matrices:
                matrix.read()
        except CritauditError as error:
            if not visible(str(error)):
                failures.append((seed, f"{file}: the error is no printable line: {error!r}"))
        except BaseException:
            failures.append((seed, f"{file}: {traceback.format_exc(limit=-4)}"))
        took = time.perf_counter() - began
        slowest = max(slowest, took)
        if took > SLOW:
            failures.append((seed, f"{file}: took {took:.1f} s"))
    extra = {"failures": failures, "slowest": slowest, "viewed": viewed}
    return {"outcome": "done", "message": "", "fired": False, "extra": extra}


def campaign(nursery: Nursery, iterations: int, *, start: int = 0) -> Campaign:
    """Try `iterations` seeds in batches of one child each; a child that dies is told by the seed it died on."""
    failures: list[Failure] = []
    slowest, viewed, growth = 0.0, 0, 0
    for first in range(start, start + iterations, BATCH):
        count = min(BATCH, start + iterations - first)
        ending = nursery.run("fuzz", start=first, count=count, seconds=SLOW + 60.0)
        growth = max(growth, ending.growth)
        if ending.death is not None:
            last = ending.stdout.split()[-1:] or [str(first)]
            failures.append(Failure(int(last[0]), f"{ending.death}: {ending.stderr[-300:]}"))
            continue
        failures += [Failure(first, f"did {event}") for event in ending.forbidden if "for writing" not in event]
        failures += [Failure(int(seed), str(what)) for seed, what in ending.extra["failures"]]
        slowest = max(slowest, ending.extra["slowest"])
        viewed += ending.extra["viewed"]
    return Campaign(iterations, viewed, iterations - viewed, slowest, growth, tuple(failures))
