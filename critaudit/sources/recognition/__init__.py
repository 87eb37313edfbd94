"""Which network is this state dict? Names, shapes and order against an index; chains of linear layers."""
