"""What the theory costs against its limits: `python benchmarks/phase_diagram.py`, about ten seconds.

Processor seconds on one thread, each in a fresh process, so that nothing is cached beforehand:

- `tables`: all tables that the theory keeps per α, for the 11 α of the diagram (limit 60 s)
- `diagrams`: seven phase diagrams of tanh networks, 11 α × 60 g each: f₁ with L = 1 without a cut, and with L = 1 … 6
  cut at r₀ = 0.01 (limit 10 s for all of them, the tables being there)
- `law`: one JacobianLaw, with its tables (limit 0.3 s)

Exits with 1 where a limit is missed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time

LIMITS = {"tables": 60.0, "diagrams": 10.0, "law": 0.3}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def main() -> int:
    """Measure each stage, print it with its limit, and return the exit status."""
    print(f"{'stage':10}{'seconds':>10}{'limit':>8}{'share of it':>13}")
    missed = False
    for stage, limit in LIMITS.items():
        done = subprocess.run(
            [sys.executable, __file__, stage], env=os.environ | ONE_THREAD, capture_output=True, text=True, check=True
        )
        seconds = float(done.stdout)
        missed |= seconds > limit
        print(f"{stage:10}{seconds:10.2f}{limit:8g}{seconds / limit:12.0%}{'  MISSED' if seconds > limit else ''}")
    return int(missed)


def measure(stage: str) -> float:
    """Processor seconds of one stage, without imports."""
    import numpy as np

    from critaudit.theory.levy import JacobianAverage, JacobianLaw, phase_diagrams
    from critaudit.theory.symmetric_stable import symmetric_stable
    from critaudit.theory.universal_functions import universal_functions

    alphas, gs = np.linspace(1.0, 2.0, 11), np.linspace(0.05, 3.0, 60)

    def tables() -> None:
        for alpha in alphas:
            universal_functions(float(alpha))
            symmetric_stable(float(alpha))

    if stage == "diagrams":
        tables()
    started = time.process_time()
    if stage == "tables":
        tables()
    elif stage == "law":
        JacobianLaw(1.5, 1.0)
    else:
        averages = [JacobianAverage(1, None), *(JacobianAverage(power) for power in range(1, 7))]
        found = phase_diagrams(alphas, gs, averages)
        assert {diagram.phases.shape for diagram in found} == {(11, 60)}
    return time.process_time() - started


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(sys.argv[1]))
    else:
        sys.exit(main())
