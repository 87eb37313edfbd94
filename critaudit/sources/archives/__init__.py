"""Zip archives, read strictly: what could be read in two ways is refused."""
