"""Jacobians of a running network: of single layers, of blocks, and end to end."""
