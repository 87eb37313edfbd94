"""What theory predicts, without data: mean fields, edges, universality classes. NumPy and SciPy only."""
