"""The Ray Serve application of a stage: `import_path: modelkit_ray:application`, found through PYTHONPATH.

Each replica serves vLLM's own API, with the contract loaded into it as vLLM itself loads it (`middleware` among the
engine's arguments). Ray's common ingress is left out: it validates requests before any middleware of the engine could
fill them, answers fewer paths, and writes errors in words of its own.
"""

import asyncio
import json
import os
from typing import Any

from ray import serve  # type: ignore[import-not-found]
from ray.serve.llm import LLMConfig, build_llm_deployment  # type: ignore[import-not-found]
from ray.serve.llm.deployment import LLMServer  # type: ignore[import-not-found]

NEEDS = "MODELKIT_NEEDS"
"""The variables that must be there, by name: an API without its key would be open to everybody."""


class Engine(LLMServer):  # type: ignore[misc]
    """A replica: vLLM, and its API with the contract in it."""

    async def __serve_build_asgi_app__(self) -> Any:
        missing = [name for name in os.environ.get(NEEDS, "").split() if not os.environ.get(name)]
        if missing:
            raise RuntimeError(f"{missing[0]} is not set on this node: start Ray with it in the environment")
        api = await super().__serve_build_asgi_app__()
        api.add_middleware(Leaving)
        return api


class Leaving:
    """Tells the application that its client left, as web servers do.

    Ray cancels the request's task instead. vLLM's handlers of whole answers wait in tasks of their own for
    `http.disconnect`: they would never hear of it, and go on computing for nobody.
    """

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        gone = asyncio.Event()

        async def hear() -> Any:
            heard, left = asyncio.ensure_future(receive()), asyncio.ensure_future(gone.wait())
            try:
                await asyncio.wait({heard, left}, return_when=asyncio.FIRST_COMPLETED)
                return heard.result() if heard.done() else {"type": "http.disconnect"}
            finally:
                heard.cancel()
                left.cancel()

        answer = asyncio.create_task(self.app(scope, hear, send))
        try:
            await asyncio.shield(answer)
        except asyncio.CancelledError:
            gone.set()
            await asyncio.wait({answer}, timeout=1)
            answer.cancel()  # a stream, which only stops when it can't be sent
            await asyncio.wait({answer}, timeout=10)
            raise


def application(arguments: dict[str, Any]) -> Any:
    """The application for `args` of the Serve configuration: `llm_config`, as Ray Serve LLM has it."""
    config = LLMConfig.model_validate(_with_adapters(arguments["llm_config"]))
    return build_llm_deployment(config, name_prefix="engine:", deployment_cls=serve.ingress()(Engine))


def _with_adapters(config: dict[str, Any]) -> dict[str, Any]:
    """Adapters as vLLM's server takes them when nobody parses a command line: objects, not texts."""
    engine = dict(config.get("engine_kwargs", {}))
    if modules := engine.get("lora_modules"):
        from vllm.entrypoints.openai.models.protocol import LoRAModulePath

        engine["lora_modules"] = [LoRAModulePath(**_adapter(one)) for one in modules]
    return {**config, "engine_kwargs": engine}


def _adapter(said: str) -> dict[str, Any]:
    if said.startswith("{"):
        return dict(json.loads(said))
    name, _, path = said.partition("=")
    return {"name": name, "path": path}
