"""Networks by name: timm, torchvision, Hugging Face."""
