"""Manifold propagation: a circle of inputs through a network, and what becomes of its shape."""

from critaudit.dynamics.manifold.circle import GreatCircle, great_circle
from critaudit.dynamics.manifold.geometry import CV_OF_A_LINE, CV_OF_TANH_CIRCLE, Curve, Geometry, curve_geometry
from critaudit.dynamics.manifold.propagation import LayerManifold, Propagation, propagate_circle

__all__ = [
    "CV_OF_A_LINE",
    "CV_OF_TANH_CIRCLE",
    "Curve",
    "Geometry",
    "GreatCircle",
    "LayerManifold",
    "Propagation",
    "curve_geometry",
    "great_circle",
    "propagate_circle",
]
