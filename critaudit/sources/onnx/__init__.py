"""ONNX models, read lazily from their wire format."""
