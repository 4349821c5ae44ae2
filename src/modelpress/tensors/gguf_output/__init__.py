"""GGUF files as llama.cpp loads them: names, sizes, tokenizer and blocks, from a Hugging Face model's own files."""
