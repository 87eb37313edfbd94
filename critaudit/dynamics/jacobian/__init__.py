"""Jacobians of a running network: of single layers, of blocks, and end to end.

`operator(module, x)` is any module's Jacobian as a linear operator; use it inside `differentiable()`.
`block_jacobians(network)` finds the blocks of a network that is `running` and measures them at its samples.
`spectrum` and `exact_spectrum` look at the singular values of any linear operator or matrix.
"""

from critaudit.dynamics.jacobian.blocks import Blocks, find_blocks
from critaudit.dynamics.jacobian.estimates import Estimate
from critaudit.dynamics.jacobian.krylov import Effort, Spectrum, exact_spectrum, spectrum
from critaudit.dynamics.jacobian.measuring import BlockJacobian, BlockSpectrum, NetworkJacobians, block_jacobians
from critaudit.dynamics.jacobian.operators import JacobianOperator, NotDifferentiableError, operator
from critaudit.dynamics.jacobian.surroundings import differentiable, frozen

__all__ = [
    "BlockJacobian",
    "BlockSpectrum",
    "Blocks",
    "Effort",
    "Estimate",
    "JacobianOperator",
    "NetworkJacobians",
    "NotDifferentiableError",
    "Spectrum",
    "block_jacobians",
    "differentiable",
    "exact_spectrum",
    "find_blocks",
    "frozen",
    "operator",
    "spectrum",
]
