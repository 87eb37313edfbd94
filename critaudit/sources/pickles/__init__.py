"""Pickles read by a machine of our own that imports and calls nothing."""
