"""Readers and writers of model files: GGUF and safetensors."""
