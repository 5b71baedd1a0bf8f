"""The process that stands for llama.cpp: llama-server, and the contract in front of it on a Unix socket.

Standard library, httptools and uvicorn only: it starts in a quarter of a second and carries every token.
"""
