"""The dev engine: continuous batching on llama-cpp-python behind FastAPI, with an API that means what vLLM's means.

One process: `python -m modelkit.llamacpp --config FILE`. The event loop has HTTP (`app`), one thread has llama.cpp
(`engine`); `jobs` is what they say to each other. It runs where llama-cpp-python is: in our own Python, or in an
environment that has it, so it imports nothing of modelkit but `contract`.
"""
