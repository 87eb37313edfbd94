"""`python -m tests.hostile [--fuzz N]`: try the hostile cases, prove the canaries live, fuzz, and tell the result."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.hostile.case import Case
from tests.hostile.corpus import attempt, corpus, prove
from tests.hostile.fuzz import Campaign, campaign
from tests.hostile.sandbox import Ending, Nursery
from tests.hostile.warm import COMMAND, READER, UNSAFE


@dataclass(frozen=True, slots=True)
class Trial:
    """One case that was tried."""

    case: Case
    ending: Ending
    faults: tuple[str, ...]


def main() -> int:
    """Run what was asked for; 0 where every case passed, every canary was live and no mutant broke the reader."""
    parser = argparse.ArgumentParser(prog="python -m tests.hostile", description=__doc__)
    parser.add_argument("--fuzz", type=int, default=2000, metavar="N", help="mutants to try (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="the first mutant's seed")
    parser.add_argument("--only", default="", help="only cases whose name or category holds this text")
    parser.add_argument("--call", action="store_true", help="call critaudit.audit() instead of the command line")
    parser.add_argument("--workers", type=int, default=2, help="warm processes side by side (default 2)")
    options = parser.parse_args()
    started = time.perf_counter()
    cases = [case for case in corpus() if options.only in case.name or options.only in case.category]
    action = "audit" if options.call else "command"
    shares = [cases[first :: options.workers] for first in range(options.workers)]
    with ThreadPoolExecutor(options.workers) as pool:
        trials = [trial for share in pool.map(lambda share: _try(share, action), shares) for trial in share]
        carriers = [case for case in cases if case.proof is not None]
        halves = [carriers[first :: options.workers] for first in range(options.workers)]
        live = [name for share in pool.map(_prove, halves) for name in share]
    with Nursery(*READER) as nursery:
        fuzzed = campaign(nursery, options.fuzz, start=options.seed)
    broken = _report(trials, carriers, live, fuzzed)
    print(f"{time.perf_counter() - started:.0f} s in all")
    return 1 if broken else 0


def _try(cases: Sequence[Case], action: str) -> list[Trial]:
    with Nursery(*(COMMAND if action == "command" else READER)) as nursery:
        return [Trial(case, *attempt(nursery, case, action=action)) for case in cases]


def _prove(cases: Sequence[Case]) -> list[str]:
    with Nursery(*UNSAFE) as nursery:
        return [case.name for case in cases if prove(nursery, case).fired]


def _report(trials: Sequence[Trial], carriers: Sequence[Case], live: Sequence[str], fuzzed: Campaign) -> bool:
    tried = Counter(trial.case.category for trial in trials)
    passed = Counter(trial.case.category for trial in trials if not trial.faults)
    print(f"{'category':<20}{'passed':>8}{'tried':>8}")
    for category, count in tried.items():
        print(f"{category:<20}{passed[category]:>8}{count:>8}")
    print(f"{'hostile cases':<20}{passed.total():>8}{tried.total():>8}")
    print(f"{'canaries live':<20}{len(live):>8}{len(carriers):>8}")
    sound = fuzzed.iterations - len({failure.seed for failure in fuzzed.failures})
    print(f"{'fuzz iterations':<20}{sound:>8}{fuzzed.iterations:>8}   ({fuzzed.viewed} still readable)")
    outcomes = Counter(str(trial.ending.outcome or trial.ending.death) for trial in trials)
    print("outcomes: " + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()))
    if trials:
        slowest = max(trials, key=lambda trial: trial.ending.busy)
        largest = max(trials, key=lambda trial: trial.ending.growth)
        print(f"slowest case: {slowest.case.name}, {slowest.ending.busy:.1f} s")
        print(f"largest memory over the baseline: {largest.case.name}, {largest.ending.growth / 2**20:.0f} MB")
    print(f"slowest mutant: {fuzzed.slowest:.2f} s; largest batch: {fuzzed.growth / 2**20:.0f} MB over the baseline")
    for trial in trials:
        if trial.faults:
            print(f"FAILED {trial.case.name} ({trial.case.attack}): {'; '.join(trial.faults)}")
    dead = [case.name for case in carriers if case.name not in live]
    for name in dead:
        print(f"DEAD CANARY {name}")
    for failure in fuzzed.failures:
        print(f"FUZZ seed {failure.seed}: {failure.what}")
    return any(trial.faults for trial in trials) or bool(dead) or bool(fuzzed.failures)


if __name__ == "__main__":
    sys.exit(main())
