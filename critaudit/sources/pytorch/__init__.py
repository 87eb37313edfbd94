"""PyTorch's own files: checkpoints of every age, TorchScript and torch.export archives."""
