"""SGLang's own server with the contract in front: `python3 sglang_server.py --model-path …`, its flags as they are.

Runs in SGLang's container, where `modelkit.contract` is on PYTHONPATH, MODELKIT_PROFILE names the profile and
MODELKIT_API_KEY holds the key, if there is one. Made for SGLang 0.5.23 from its source: `launch_server` runs one
FastAPI application, `http_server.app`, in this process; its scheduler and detokenizer start this file again (spawn), so
nothing may happen while it is imported.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

ONE_PROCESS = {"encoder_only": False, "smg_grpc_mode": False, "grpc_mode": False, "use_ray": False,
               "grpc_port": None, "tokenizer_worker_num": 1}
"""Arguments that would answer requests elsewhere than in the application of this process."""


def main(argv: list[str]) -> None:
    """Serves until it is told to stop. Ends with a sentence where this SGLang is not built as was read."""
    launcher: Any = importlib.import_module("sglang.launch_server")
    server: Any = importlib.import_module("sglang.srt.entrypoints.http_server")
    for module, names in ((launcher, ("load_plugins", "prepare_server_args", "kill_process_tree")),
                          (server, ("app", "launch_server", "init_tokenizer_manager"))):
        if missing := [name for name in names if not hasattr(module, name)]:
            sys.exit(f"modelkit: {module.__name__} of this SGLang has no {', '.join(missing)}")
    if os.environ.get("SGLANG_RUST_SERVER", "0").lower() not in ("", "0", "false"):
        sys.exit("modelkit: SGLANG_RUST_SERVER answers requests without the contract; unset it")
    launcher.load_plugins()
    arguments = launcher.prepare_server_args(argv)
    for name, must in ONE_PROCESS.items():
        if getattr(arguments, name, must) != must:
            sys.exit(f"modelkit: SGLang's {name} must be {must}: otherwise requests would not pass the contract")
    stand_in_front(server.app)
    try:
        server.launch_server(arguments, init_tokenizer_manager_func=clamped(server.init_tokenizer_manager))
    finally:
        launcher.kill_process_tree(os.getpid(), include_parent=False)


def stand_in_front(app: Any) -> None:
    """Everything that reaches the application passes the door and the contract first, its own middleware included.

    Starlette builds its chain with the first event. With `add_middleware`, what SGLang adds later would stand outside.
    """
    from modelkit.contract.door import Door
    from modelkit.contract.middleware import Contract

    if not callable(getattr(app, "build_middleware_stack", None)) or getattr(app, "middleware_stack", None) is not None:
        sys.exit("modelkit: the middleware of this SGLang's application cannot be extended")
    # Its CORS rule lets any web page of any origin ask a server without a key.
    app.user_middleware[:] = [one for one in app.user_middleware if one.cls.__name__ != "CORSMiddleware"]
    build, contract = app.build_middleware_stack, Contract(app)
    door = Door(contract)  # now, not with the first event: uvicorn would go on without a profile

    def built() -> Any:
        contract.app = Detokenize(build())
        return door

    app.build_middleware_stack = built


class Detokenize:
    """Makes of SGLang's `/detokenize` what the API has: special tokens are kept, the text is called `prompt`."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != "/detokenize":
            await self.app(scope, receive, send)
            return
        asked = json.loads((await receive())["body"])
        question = json.dumps({**asked, "skip_special_tokens": False}).encode()
        headers = [one for one in scope["headers"] if one[0] != b"content-length"]
        first: list[Any] = [{"type": "http.request", "body": question, "more_body": False}]
        start: list[Any] = []
        said = b""

        async def ask() -> Any:
            return first.pop() if first else await receive()

        async def answer(message: Any) -> None:
            nonlocal said
            if message["type"] == "http.response.start":
                start.append(message)
                return
            said += message.get("body", b"")
            if message.get("more_body"):
                return
            body = renamed(said) if start[0]["status"] == 200 else said
            kept = [one for one in start[0]["headers"] if one[0].lower() != b"content-length"]
            await send({**start[0], "headers": [*kept, (b"content-length", b"%d" % len(body))]})
            await send({"type": "http.response.body", "body": body})

        await self.app({**scope, "headers": [*headers, (b"content-length", b"%d" % len(question))]}, ask, answer)


def renamed(body: bytes) -> bytes:
    """`{"text": …}` as `{"prompt": …}`."""
    return json.dumps({"prompt": json.loads(body)["text"]}, ensure_ascii=False).encode()


def clamped(make: Any) -> Any:
    """SGLang's tokenizer manager, that lets an answer end where the context does instead of refusing the request.

    `max_tokens` is then a bound as on the other engines: its scheduler shortens it to what the prompt leaves.
    """
    def made(*args: Any, **kwargs: Any) -> Any:
        manager, templates = make(*args, **kwargs)
        if not hasattr(manager, "validate_total_tokens"):
            sys.exit("modelkit: the tokenizer manager of this SGLang has no validate_total_tokens")
        manager.validate_total_tokens = False
        return manager, templates

    return made


if __name__ == "__main__":
    main(sys.argv[1:])
