"""A package `tensorrt_llm` with the names that the launcher touches, as its sources of 1.2 to 1.4 have them."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "tensorrt_llm/__init__.py": "",
    "tensorrt_llm/commands/__init__.py": "",
    "tensorrt_llm/commands/serve.py": '''
import asyncio

import uvicorn
from fastapi import FastAPI, Request

class OpenAIServer:
    def __init__(self, llm, model, tool_parser=None, chat_template=None):
        self.model = model
        self.app = FastAPI()
        self.app.add_api_route("/health", self.health, methods=["GET"])
        self.app.add_api_route("/prometheus/metrics", self.health, methods=["GET"])
        self.app.add_api_route("/server_info", self.health, methods=["GET"])
        self.app.add_api_route("/v1/chat/completions", self.openai_chat, methods=["POST"])

    async def health(self):
        return {"ok": True}

    async def openai_chat(self, request: Request):
        return {"model": self.model, "asked": await request.json()}

    async def __call__(self, host, port, sockets=None):
        await uvicorn.Server(uvicorn.Config(self.app, host=host, port=port, log_level="warning")).serve()

def main(args, prog_name):
    assert args[0] == "serve" and prog_name == "trtllm-serve"
    server = OpenAIServer(llm=None, model=args[1])
    said = dict(zip(args[2::2], args[3::2]))
    asyncio.run(server(said["--host"], int(said["--port"])))
''',
}


def write(folder: Path) -> Path:
    """The package, to be put on PYTHONPATH."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder
