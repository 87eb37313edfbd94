"""Statistics on arrays: which law do the numbers follow? NumPy and SciPy only."""
