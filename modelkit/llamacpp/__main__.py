"""`python -m modelkit.llamacpp --config FILE`: the dev engine behind the contract, on a Unix socket.

Exit status: 0 after SIGTERM or SIGINT, 1 when the model cannot be served or the engine dies, 2 for a bad
configuration. The last line on stderr says why.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import gc
import os
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from modelkit.contract.profile import Profile
from modelkit.llamacpp.config import Config

if TYPE_CHECKING:
    from concurrent.futures import Future

    import uvicorn

    from modelkit.contract.middleware import Contract

DRAIN_SECONDS = 4
"""How long answers in flight may go on after SIGTERM. Who wants to drain longer stops sending first."""

SWITCH_SECONDS = 0.0005
"""How long llama.cpp's thread waits for Python's lock while others compute in Python. It comes back to Python for each
tensor that it loads and for each step: with the usual 5 ms, a start beside imports takes a second longer.
"""

_BEGAN = time.monotonic()


class BadConfig(Exception):
    """What was written for this process to read cannot be used; one sentence."""


class Stopped(BaseException):
    """SIGTERM or SIGINT before there was anything to drain."""


class Process:
    """What ends the process while it serves: a signal, or the death of the engine's thread."""

    def __init__(self) -> None:
        self.server: uvicorn.Server | None = None
        self.death: str | None = None
        for number in (signal.SIGTERM, signal.SIGINT):  # uvicorn takes them over, and gives them back
            signal.signal(number, self._stop)

    def died(self, reason: str) -> None:
        """The engine's thread has ended by itself. Called in it."""
        self.death = reason
        if self.server is not None:
            self.server.should_exit = True

    def _stop(self, *_: Any) -> None:
        if self.server is None:
            raise Stopped
        self.server.should_exit = True


def main() -> int:
    faulthandler.enable()  # what kills the process in native code leaves a trace
    gc.disable()  # until all is there: what is imported and loaded stays
    sys.setswitchinterval(SWITCH_SECONDS)
    os.umask(0o077)  # the socket is ours alone, from its first moment
    process = Process()
    parser = argparse.ArgumentParser(prog="modelkit.llamacpp", description="the dev engine behind the contract")
    parser.add_argument("--config", type=Path, required=True)
    config, profile = read(parser.parse_args().config)
    listen_to_ggml()
    loading = in_thread(lambda: load(config, process))
    uvicorn = prepare(config)
    process.server = uvicorn.Server(uvicorn.Config(
        application(loading.result(), config, profile), http="httptools", ws="none", lifespan="off", access_log=False,
        log_level="warning", server_header=False, date_header=False, timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_SECONDS))
    listener = listening(config.socket)
    gc.freeze()  # collections need not look at it
    gc.enable()
    say(f"ready after {time.monotonic() - _BEGAN:.1f} s")
    serve(process.server, listener)
    if process.death is not None:
        say(process.death)
    return 0 if process.death is None else 1


def read(path: Path) -> tuple[Config, Profile]:
    """Raises BadConfig."""
    try:
        config = Config.read(path)
    except (OSError, ValueError) as error:
        raise BadConfig(str(error)) from None
    try:
        return config, Profile.loads(Path(config.profile).read_text("utf-8"))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise BadConfig(f"{config.profile}: {error}") from None


def listen_to_ggml() -> None:
    """Loads llama.cpp, before everything else that takes time: it then reads the weights while Python imports."""
    with contextlib.suppress(Exception):  # which the engine says in its own words
        from modelkit.llamacpp.library import on_abort

        on_abort(aborted)


def prepare(config: Config) -> Any:
    """Imports what serving takes, while the model is being loaded: what the engine needs next comes first."""
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # else it looks through all that is installed
    starter(config)
    import uvicorn
    import uvicorn.protocols.http.httptools_impl
    import uvloop  # noqa: F401

    import modelkit.contract.middleware
    import modelkit.llamacpp.app

    if config.task == "chat":
        import modelkit.llamacpp.chat
    else:
        import modelkit.llamacpp.pooling_routes  # noqa: F401
    return uvicorn


def starter(config: Config) -> Any:
    """What makes an engine of weights."""
    start: Any
    if config.task == "chat":
        from modelkit.llamacpp.engine import start
    else:
        from modelkit.llamacpp.pooling import start
    return start


def load(config: Config, process: Process) -> Any:
    """The engine. Raises LlamaError for what cannot be served."""
    from modelkit.llamacpp.weights import load_weights

    model = Path(config.model)
    say(f"loading {model.name}" + (f", {model.stat().st_size / 1e6:.0f} MB" if model.is_file() else ""))
    weights = load_weights(config.model, config, Progress())
    engine = starter(config)(config, on_death=process.died, weights=weights)
    say(f"loaded after {time.monotonic() - _BEGAN:.1f} s")
    return engine


class Progress:
    """Says how much is loaded, every two seconds."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, part: float) -> None:
        if (now := time.monotonic()) - self._said >= 2:
            self._said = now
            say(f"loading: {part:.0%}")


def application(engine: Any, config: Config, profile: Profile) -> Contract:
    """Raises BadConfig for a template or a profile that can't be used."""
    from modelkit.contract.middleware import Contract
    from modelkit.llamacpp import app

    text: str | None = None
    chat: Any = None
    others: tuple[Any, ...] = ()
    try:
        if config.task == "chat":
            text = Path(config.chat_template).read_text("utf-8") if config.chat_template \
                else engine.model.chat_template()
            chat = chat_of(text, engine, profile)
        else:
            from modelkit.llamacpp import pooling_routes

            others = (lambda metrics: pooling_routes.routes(engine, metrics),)
        return Contract(app.application(engine, chat, config, profile, state=state(engine, config, text),
                                        others=others), profile)
    except (OSError, ValueError) as error:
        raise BadConfig(str(error)) from None


def chat_of(text: str | None, engine: Any, profile: Profile) -> Any:
    from modelkit.llamacpp.chat import Chat
    from modelkit.llamacpp.template import Template

    see = engine.projector.read if engine.projector is not None else None
    return Chat(Template.of(text, engine.vocabulary), engine.vocabulary, profile, see=see)


def state(engine: Any, config: Config, template: str | None) -> Any:
    """What there really is."""
    from modelkit.contract.effective import template_digest
    from modelkit.llamacpp.library import VERSION
    from modelkit.llamacpp.types import State

    return State(version=VERSION, model=config.model, context_length=config.context_length,
                 max_concurrency=config.max_concurrency, template=template_digest(template),
                 adapters=[name for name, _ in config.adapters], kv_cache=config.kv_cache,
                 kv_tokens=engine.stats().kv_tokens)


def listening(path: str) -> socket.socket:
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path)
    listener.listen(1024)
    return listener


def serve(server: uvicorn.Server, listener: socket.socket) -> None:
    """Until something makes the server exit."""
    import asyncio

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(server.serve(sockets=[listener]))


def in_thread(work: Any) -> Future[Any]:
    """What `work` returns or raises, from a thread that nobody waits for at the end."""
    from concurrent.futures import Future

    done: Future[Any] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:
            done.set_exception(error)

    Thread(target=run, name="loading", daemon=True).start()
    return done


def aborted(reason: str) -> None:
    """A failed assertion of ggml: the stacks of all threads, then the reason, as the last line."""
    faulthandler.dump_traceback()
    say(f"ggml gave up: {reason}")
    os._exit(1)


def say(sentence: str) -> None:
    os.write(2, f"modelkit: llama.cpp: {sentence}\n".encode(errors="replace"))


def ended() -> int:
    """The exit status of `main`, the reason said."""
    try:
        return main()
    except Stopped:
        return 0
    except SystemExit as usage:
        return 2 if usage.code else 0
    except BadConfig as error:
        say(str(error))
        return 2
    except BaseException as error:
        from modelkit.llamacpp.computing import LlamaError

        if not isinstance(error, LlamaError):
            traceback.print_exc()
        say(str(error) or type(error).__name__)
        return 1


if __name__ == "__main__":
    status = ended()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # nothing native gets a chance to wait
