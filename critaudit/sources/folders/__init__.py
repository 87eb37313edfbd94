"""Folders: Hugging Face models, shards with an index, files beside a file."""
