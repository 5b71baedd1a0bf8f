"""Modelfiles that stand for all others, on every platform, with the world around them fixed.

A case is the base of a Modelfile and the body of its STAGE prod; the platform is written into that body. Nothing here
looks at the machine: engines, images, digests and models are what the facts say.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

from modelkit import platforms
from modelkit.engines.images import image_engine
from modelkit.language.check import compile_source
from modelkit.language.modelfile import Modelfile
from modelkit.language.source import Source
from modelkit.models.facts import ModelFacts
from modelkit.planning.facts import Facts
from modelkit.planning.forms import wanted
from modelkit.planning.plan import Engine, ModelSource, Origin, Plan, ServedAdapter, Weights
from modelkit.planning.resolve import resolve
from modelkit.platforms.manifests import Manifests

REVISION = "7ae557604adf67be50417f59c2c2f167def9a775"
HUB = "Qwen/Qwen3-8B"
FOLDER = "/srv/modelkit/models/sha256-d0"

PROCESS_ENGINES = {
    "vllm": Engine(name="vllm", provider="environment", version="0.32.0", variant="cuda",
                   command=("/srv/modelkit/engines/vllm/bin/vllm",)),
    "llama.cpp": Engine(name="llama.cpp", provider="llama-server", version="11549",
                        command=("/usr/bin/llama-server",)),
}

MODEL = ModelFacts(architecture="Qwen3ForCausalLM", context_length=40960, parameters=8_190_000_000,
                   quantization="bfloat16", vocabulary=151936, chat_template="{% for m in messages %}{% endfor %}",
                   bos=None, eos="<|im_end|>", ends=("<|im_end|>",), kv_bytes_per_token=147456)

TEXTS = '''SYSTEM """You're "Ada" at 100% of $HOME, ${NOT_A_VARIABLE} and `id`.
Second line: {{ braces }} {% raw %} \\n stays two characters; # no comment; 日本語 🦙
  - "yaml": [1, 2], 'single' & *anchor ! | > @ %i %%
@RUN@ and @DIRECTORY@ stay as they are."""
MESSAGE user What does "50%" of $10 make?
MESSAGE assistant """It's $5: 'five'.
Not {{ six }}."""
'''

TEMPLATE = '''TEMPLATE """{%- for m in messages -%}
<|{{ m['role'] }}|>$ {{ m.content }} 100% "quoted"
{% endfor -%}"""
'''


@dataclass(frozen=True)
class Case:
    """`base` is all but the FROM line, `prod` the lines of STAGE prod; `more` replaces fields of the facts."""

    base: str = ""
    prod: str = ""
    origin: str = f"hf.co/{HUB}"
    more: dict[str, Any] = field(default_factory=dict)

    def text(self, platform: str) -> str:
        """The whole Modelfile."""
        body = f"PLATFORM {platform}\n{self.prod}"
        if platform == "skypilot" and (self.base or self.prod) and "accelerator" not in self.prod:
            body += "\nSERVE accelerator L4"  # without one there is little but its refusal to see
        inside = "".join(f"  {line}\n" for line in body.splitlines())
        return f"FROM {self.origin}\n{self.base}STAGE prod {{\n{inside}}}\n"



def _adapter(name: str, repository: str, line: int, rank: int) -> ServedAdapter:
    return ServedAdapter(name=name, reference=f"hf://{repository}", rank=rank, digest="sha256:" + f"a{line}" * 32,
                         origin=Origin(kind="modelfile", where=f"/srv/app/support.Modelfile:{line}"),
                         path=f"/srv/modelkit/models/sha256-a{line}")


_ADAPTERS = (_adapter("tone", "acme/tone-lora", 2, 16), _adapter("legal-de", "acme/legal-lora", 3, 8))

CASES: dict[str, Case] = {
    "plain": Case(),
    "texts": Case(base=TEXTS + 'PARAMETER stop "</s> \\"$x\\" 100%"\n'),
    "template": Case(base=TEMPLATE),
    "sampling": Case(base="PARAMETER temperature 0\nPARAMETER top_k 7\nPARAMETER num_predict 300\nPARAMETER seed 42\n"
                          'PARAMETER stop "<|im_end|>"\nPARAMETER stop "User:"\nPARAMETER stop "日本"\n'),
    "context": Case(base="PARAMETER num_ctx 32768\n", prod="SERVE max_concurrency 64\nSERVE kv_cache fp8\n"
                                                           "SERVE prefix_caching true\nSERVE gpu_memory 0.85"),
    "fp8": Case(prod="QUANTIZE fp8\nSERVE accelerator H100"),
    "replicas": Case(prod="SERVE replicas 2\nSERVE max_replicas 6\nSERVE accelerator L4\nSERVE port 9000"),
    "tensor-parallel": Case(prod="SERVE tensor_parallel 2\nSERVE pipeline_parallel 2\nSERVE accelerator A100"),
    "api-key": Case(prod="SERVE api_key env:SUPPORT_API_KEY\nSERVE host 0.0.0.0\nSERVE port 8443"),
    "key-file": Case(prod="SERVE api_key file:/run/keys/modelkit api\nSERVE keep_alive 30m"),
    "adapters": Case(base="ADAPTER hf.co/acme/tone-lora AS tone\nADAPTER hf.co/acme/legal-lora AS legal-de\n",
                     more={"adapters": _ADAPTERS}),
    "parsers": Case(prod="SERVE tool_parser hermes\nSERVE reasoning_parser qwen3\nSERVE thinking false"),
    "odd-name": Case(base="NAME Acme/Support-Bot.V2\n"),
    "flags": Case(prod="FLAG --enforce-eager\nFLAG --max-num-batched-tokens 4096\n"
                       'FLAG --hf-overrides {"rope_theta":1e6}'),
    "speculative": Case(prod="SERVE speculative ngram\nSERVE thinking true"),
    "cpu": Case(prod="SERVE accelerator cpu\nSERVE max_concurrency 2",
                origin="hf.co/HuggingFaceTB/SmolLM2-135M-Instruct"),
    "oci": Case(origin="oci://registry.example/models/qwen:8b"),
    "image": Case(prod="SERVE image registry.example:5000/ai/vllm:v0.32.0-patched"),
    "sglang": Case(prod="ENGINE sglang\nSERVE accelerator H100\nSERVE tensor_parallel 2\n"
                        "SERVE api_key env:SUPPORT_API_KEY"),
    "tensorrt-llm": Case(prod="ENGINE tensorrt-llm\nSERVE accelerator H100\nSERVE max_concurrency 32"),
    "llama.cpp": Case(prod="ENGINE llama.cpp"),
}
"""By the name of their golden folder."""


def digest_of(image: str) -> str:
    """`repository@sha256:…` of a tag, the same on every machine and no real image's."""
    repository = image.partition("@")[0]
    last = repository.rpartition("/")[2]
    bare = repository[:len(repository) - len(last)] + last.partition(":")[0]
    return f"{bare}@sha256:{hashlib.sha256(image.encode()).hexdigest()}"


def modelfile_of(case: str, platform: str) -> Modelfile:
    """The checked Modelfile of a case; a case with an error in it is our mistake."""
    modelfile, diagnostics = compile_source(Source("/srv/app/support.Modelfile", CASES[case].text(platform)))
    assert modelfile is not None, [str(d) for d in diagnostics]
    return modelfile


def engine_of(case: str, platform: str) -> str:
    """The language's word for the engine of a case."""
    return wanted(modelfile_of(case, platform), "prod").engine


def plan_of(case: str, platform: str) -> Plan:
    """The plan of STAGE prod, with what each setting becomes. Raises Failure for what can't be planned."""
    modelfile = modelfile_of(case, platform)
    resolved = resolve(modelfile, "prod", facts_of(case, modelfile))
    return resolved.model_copy(update={"lowered": platforms.lower(resolved),
                                       "images": {tag: digest_of(tag) for tag in platforms.images(resolved)}})


def facts_of(case: str, modelfile: Modelfile) -> Facts:
    """The world, as far as planning is told of it: the model is on this machine, everything is known by digest."""
    ask = wanted(modelfile, "prod")
    where = platforms.platform_row(ask.platform).where
    origin = CASES[case].origin
    reference = origin if "://" in origin else f"hf://{origin.removeprefix('hf.co/')}"
    weights = Weights(reference=reference, form=ask.form, path=FOLDER, digest="sha256:" + "d0" * 32, size=16 << 30)
    engines, image, source, adapters = PROCESS_ENGINES, None, None, CASES[case].more.get("adapters", ())
    if where == "process" and ask.accelerator == "cpu":
        engines = {**engines, "vllm": engines["vllm"].model_copy(update={"variant": "cpu"})}
    elif where != "process":
        engine, tag = image_engine(ask.engine, ask.specifier, ask.image, ask.accelerator, ask.platform)
        engines, image = {engine.name: engine}, digest_of(tag)
        source = _source(origin, where)
        adapters = tuple(one.model_copy(update={"source": _source(one.reference, where, one.path)}) for one in adapters)
    return Facts(**{"engines": engines, "image": image, "source": source, "reference": reference, "model": MODEL,
                    "gguf": weights if ask.form == "gguf" else None, "cpus": 8,
                    "safetensors": weights if ask.form == "safetensors" else None,
                    **CASES[case].more, "adapters": adapters})


def _source(origin: str, where: str, path: str | None = None) -> ModelSource:
    if where == "here":
        return ModelSource(kind="folder", name=path or FOLDER)
    if origin.startswith("oci://"):
        name = origin.removeprefix("oci://").rpartition(":")[0]
        return ModelSource(kind="oci", name=f"{name}@sha256:{'0c' * 32}")
    return ModelSource(kind="hub", name=origin.removeprefix("hf.co/").removeprefix("hf://"), revision=REVISION)


def rendered(case: str, platform: str) -> Manifests:
    """What is written for a case. Raises Failure for what the platform or the engine refuses."""
    return platforms.manifests(plan_of(case, platform))
