"""GGUF files as sources: their header, their blocks, and what is needed to be a Hugging Face model."""
