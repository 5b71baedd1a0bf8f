"""`modelkit tool install|list`."""

from __future__ import annotations

from argparse import Namespace

from modelkit.cli.terminal import Terminal
from modelkit.models.convert.tool import Name

TOOLS: dict[Name, str] = {
    "quantizer": "GGUF to fewer bits (llama.cpp's quantizer; it comes with the engine llama.cpp)",
    "converter": "safetensors to GGUF, LoRA adapters to and from GGUF (llama.cpp's converter, PyTorch)",
    "compressor": "safetensors to int8, w4a16, fp8 … for vLLM (llmcompressor, PyTorch)",
    "balancer": "one engine of several replicas on this machine (Envoy)",
    "lm-eval": "tasks of `modelkit eval` by their names (lm-evaluation-harness)",
    "inspect": "tasks of `modelkit eval` in Python files (Inspect)",
}


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Make a tool's environment, or list the tools of this machine."""
    from modelkit.runtime import environments

    if arguments.action == "install":
        from modelkit.failure import Failure

        if arguments.tool not in TOOLS:
            what = f"`{arguments.tool}` is not a tool" if arguments.tool else "which tool shall be installed?"
            raise Failure("usage", what, hint=f"there are {', '.join(TOOLS)}")
        if arguments.reinstall or environments.find_tool(arguments.tool) is None:
            environments.install(arguments.tool, reinstall=arguments.reinstall, on_progress=terminal.note)
    found = {name: environments.find_tool(name) for name in TOOLS}
    terminal.document([{"tool": name, "does": TOOLS[name], "version": tool.version if tool else None,
                        "python": tool.python if tool else None} for name, tool in found.items()])
    terminal.table(("TOOL", "VERSION", "WHAT IT IS FOR"), [
        (name, tool.version if tool else f"missing: modelkit tool install {name}", TOOLS[name])
        for name, tool in found.items()])
    return 0
