"""GGUF, the format of llama.cpp: vocabulary, metadata, streamed quantization."""
