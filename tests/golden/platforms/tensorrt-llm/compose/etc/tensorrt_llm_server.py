"""trtllm-serve with the contract in front: `python3 tensorrt_llm_server.py MODEL …`, its options as they are.

Runs in TensorRT-LLM's container, where `modelkit.contract` is on PYTHONPATH, MODELKIT_PROFILE names the profile and
MODELKIT_API_KEY holds the key, if there is one. Made from the sources of `commands/serve.py` and
`serve/openai_server.py` (1.2 to 1.4): `serve` makes one OpenAIServer, whose `app` is FastAPI's, and its `model` is the
name in answers. MPI starts this file again for other ranks, so nothing may happen while it is imported.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

PROBES = ("/health", "/prometheus/metrics", "/prometheus/metrics/")


def main(argv: list[str]) -> None:
    """Serves until it is told to stop. Ends with a sentence where this TensorRT-LLM is not built as was read."""
    commands: Any = importlib.import_module("tensorrt_llm.commands.serve")
    if missing := [name for name in ("OpenAIServer", "main") if not hasattr(commands, name)]:
        sys.exit(f"modelkit: tensorrt_llm.commands.serve of this version has no {', '.join(missing)}")
    if "--grpc" in argv or any(word.startswith("--num_serve_frontends") for word in argv):
        sys.exit("modelkit: --grpc and --num_serve_frontends answer requests without the contract")
    commands.OpenAIServer = contracted(commands.OpenAIServer)
    commands.main(args=["serve", *argv], prog_name="trtllm-serve")


def contracted(server: Any) -> Any:
    """TensorRT-LLM's class, whose application everything reaches through the door and the contract only."""
    from modelkit.contract.door import Door
    from modelkit.contract.middleware import Contract

    name = json.loads(Path(os.environ["MODELKIT_PROFILE"]).read_text("utf-8"))["name"]

    class Contracted(server):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            app: Any = getattr(self, "app", None)
            if not callable(getattr(app, "build_middleware_stack", None)) or not hasattr(self, "model"):
                sys.exit("modelkit: the server of this TensorRT-LLM cannot be extended")
            self.model = name  # in answers; its own would be the folder's
            build, contract = app.build_middleware_stack, Contract(app)
            door = Door(contract, PROBES)  # now, not with the first event: uvicorn would go on without a profile

            def built() -> Any:
                contract.app = build()
                return door

            app.build_middleware_stack = built

    return Contracted


if __name__ == "__main__":
    main(sys.argv[1:])
