"""What a request means, on every engine. Standard library only: vLLM loads this room by itself."""
