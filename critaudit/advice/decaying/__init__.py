"""Advice on weight decay: how J² grows, where a layer's edge of chaos lies, and the decay that ends growth there."""
