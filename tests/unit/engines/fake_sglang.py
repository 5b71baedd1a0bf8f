"""A package `sglang` with the names and signatures of 0.5.23 that the launcher touches, around a real FastAPI.

What is SGLang's own order is kept: its CORS rule stands at import, its key check is added by `launch_server`, its
lifespan begins after that. The engine behind it repeats what it was asked.
"""

from __future__ import annotations

from pathlib import Path

FILES = {
    "sglang/__init__.py": "",
    "sglang/srt/__init__.py": "",
    "sglang/srt/entrypoints/__init__.py": "",
    "sglang/launch_server.py": '''
import argparse

called = []

def load_plugins():
    called.append("load_plugins")

def prepare_server_args(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=30000)
    parser.add_argument("--model-path", required=True)
    parser.add_argument("--tokenizer-worker-num", type=int, default=1)
    parser.add_argument("--use-ray", action="store_true")
    return parser.parse_args(argv)

def kill_process_tree(pid, include_parent=True):
    called.append("kill_process_tree")
''',
    "sglang/srt/entrypoints/http_server.py": '''
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse, StreamingResponse

@asynccontextmanager
async def lifespan(app):
    app.state.begun = True
    yield

app = FastAPI(lifespan=lifespan)
app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True, allow_methods=["*"],
                   allow_headers=["*"])
manager = None

class Manager:
    validate_total_tokens = True

def init_tokenizer_manager(server_args, port_args, TokenizerManagerClass=None):
    return Manager(), "templates"

@app.get("/health")
async def health():
    return {"begun": app.state.begun, "validates": manager.validate_total_tokens}

@app.api_route("/flush_cache", methods=["GET", "POST"])
async def flush_cache():
    return {"flushed": True}

@app.get("/server_info")
async def server_info():
    return {"api_key": "secret"}

@app.post("/v1/chat/completions")
async def chat(request: Request):
    asked = await request.json()
    if asked.get("stream"):
        async def parts():
            yield b"data: {}\\n\\n"
            yield b"data: [DONE]\\n\\n"
        return StreamingResponse(parts(), media_type="text/event-stream")
    if asked["messages"][-1]["content"] == "long":
        return JSONResponse({"object": "error", "message": "The input (5000 tokens) is longer than the model's "
                             "context length (4096 tokens).", "type": "BadRequest", "param": None, "code": 400}, 400)
    return {"asked": asked}

@app.post("/detokenize")
async def detokenize(request: Request):
    asked = await request.json()
    return {"text": f"{asked['tokens']} {asked['skip_special_tokens']}"}

def launch_server(server_args, init_tokenizer_manager_func=init_tokenizer_manager, run_scheduler_process_func=None,
                  run_detokenizer_process_func=None, execute_warmup_func=None, launch_callback=None):
    global manager
    manager, _ = init_tokenizer_manager_func(server_args, "ports")
    @app.middleware("http")
    async def guard(request, call_next):
        return await call_next(request)
    uvicorn.Server(uvicorn.Config(app, host=server_args.host, port=server_args.port, log_level="warning")).run()
''',
}


def write(folder: Path) -> Path:
    """The package, to be put on PYTHONPATH."""
    for name, text in FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder
