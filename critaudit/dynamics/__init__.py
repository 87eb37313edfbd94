"""What needs a network that runs: signals now, Jacobians and avalanches as they come."""
