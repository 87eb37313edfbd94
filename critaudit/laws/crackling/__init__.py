"""Crackling noise: what sizes and durations of avalanches say about criticality. NumPy and SciPy only."""
