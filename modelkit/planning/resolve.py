"""From a checked Modelfile and facts to one stage's plan. Pure: the world came in as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelkit.contract.effective import template_digest
from modelkit.contract.profile import Profile
from modelkit.failure import Failure
from modelkit.language.engine_words import DEFAULT_ENGINE, DEFAULT_PLATFORM
from modelkit.language.layers import Effective, effective
from modelkit.language.modelfile import Modelfile, Unset
from modelkit.planning.adapters import adapter_needs, served_adapters, spelled, wanted_adapters
from modelkit.planning.facts import Facts, Overrides
from modelkit.planning.families import Thinking, parsers, thinking
from modelkit.planning.forms import FORM_OF_ENGINE, dialect
from modelkit.planning.gpus import accelerator_name, presume_shared
from modelkit.planning.plan import Engine, Need, Origin, OriginKind, Plan, ServedAdapter, Setting, Shape, Weights
from modelkit.planning.pooling import pooling_of, presume_can
from modelkit.planning.templates import begun, chat_template

CONCURRENCY_OF_STAGE = {"experiment": 4, "dev": 4, "prod": 16}

CONTEXT_LENGTH = 4096
"""Tokens of context where the Modelfile says nothing: Ollama's default on machines without a large GPU."""


@dataclass(frozen=True)
class Sampling:
    """How one of Ollama's sampling parameters is spelled in a request, and its default in this language."""

    field: str
    default: float | int | None


SAMPLING: Mapping[str, Sampling] = {
    "temperature": Sampling("temperature", 0.8),
    "top_k": Sampling("top_k", 40),
    "top_p": Sampling("top_p", 0.9),
    "min_p": Sampling("min_p", 0.0),
    "seed": Sampling("seed", None),
    "repeat_penalty": Sampling("repetition_penalty", 1.0),
    "presence_penalty": Sampling("presence_penalty", 0.0),
    "frequency_penalty": Sampling("frequency_penalty", 0.0),
}
"""The whole set is always sent, so that no engine's own default decides (decision 0003)."""


def resolve(modelfile: Modelfile, stage: str, facts: Facts, overrides: Overrides | None = None) -> Plan:
    """What `stage` will run.

    Raises Failure for a stage that is not in the file, a context beyond the model's, or an engine that this
    release cannot run; what is merely absent on this machine becomes a `Need`.
    """
    return _Resolution(modelfile, stage, facts, overrides or Overrides()).plan()


def address(modelfile: Modelfile, stage: str, overrides: Overrides) -> tuple[str, int, str | None]:
    """Host, port and the API key's reference of a stage, without looking at anything else."""
    return _Resolution(modelfile, stage, Facts(), overrides).address()


class _Resolution:
    """One call of `resolve`: the layers, and the settings found so far."""

    def __init__(self, modelfile: Modelfile, stage: str, facts: Facts, overrides: Overrides) -> None:
        try:
            self.kind = modelfile.kind(stage)
            self.said: Effective = effective(modelfile, stage)
        except KeyError:
            known = ", ".join(dict.fromkeys(("experiment", "dev", "prod", *modelfile.stages)))
            raise Failure("unknown-stage", f"no stage is called `{stage}` in {modelfile.path}",
                          hint=f"its stages are {known}") from None
        self.modelfile, self.stage, self.facts, self.overrides = modelfile, stage, facts, overrides
        self.settings: dict[str, Setting] = {}

    def plan(self) -> Plan:
        engine_name = self._engine_name()
        engine = self._engine(engine_name)
        form = FORM_OF_ENGINE[engine_name]
        weights = self.facts.gguf if form == "gguf" else self.facts.safetensors
        self._presume_task()
        context_length = self._context_length()
        template, shape = self._chat_template(), self._shape()
        concurrency = int(self._serve("max_concurrency", CONCURRENCY_OF_STAGE[self.kind]))
        spoken = dialect(engine_name, engine.provider) if engine else dialect(engine_name)
        profile = self._profile(engine_name, spoken, context_length)
        if self.said.draft:
            self._set("draft", self.said.draft.value, self._origin(self.said.draft))
        if self.said.projector and self._task == "chat":
            self._set("projector", self.said.projector.value, self._origin(self.said.projector))
        if self.said.quantize:
            self._set("quantize", *(self.facts.chosen or (self.said.quantize.value.name,
                                                          self._origin(self.said.quantize))))
        for key in self.said.serve:
            if key != "pooling" or self._task != "embed":  # which the profile has settled
                self._serve(key, None)
        for name in (*self.said.parameters, *self.facts.inherited.parameters):
            self._parameter(name, None)
        host, port, api_key = self.address()
        gpu = accelerator_name(self.settings.get("serve.accelerator"), self.facts.gpu)
        if form == "safetensors":
            presume_shared(shape, *(self.settings.get(f"serve.{kind}_parallel") for kind in ("tensor", "pipeline")))
        flags = [(word, self._origin(f)) for f in self.said.flags for word in (f.value.flag, f.value.value)
                 if word is not None]
        return Plan(
            arguments=dict(self.modelfile.arguments),
            name=self.modelfile.name.value, modelfile=self.modelfile.path, stage=self.stage, kind=self.kind,
            platform=self.said.platform.value if self.said.platform else DEFAULT_PLATFORM,
            engine=engine, engine_name=engine_name, reference=self.facts.reference, weights=weights,
            context_length=context_length, max_concurrency=concurrency, profile=profile.as_json(),
            kv_bytes_per_token=self.facts.model.kv_bytes_per_token if self.facts.model else None, cpus=self.facts.cpus,
            cpu_flags=self.facts.cpu_flags, memory=self.facts.memory,
            settings=tuple(self.settings[name] for name in sorted(self.settings)),
            flags=tuple(word for word, _ in flags), flag_origins=tuple(origin for _, origin in flags),
            base_origin=self._origin(self.said.base) if self.said.base else None, shape=shape, accelerator=gpu,
            thinking_problem=self._thinking(self._template_text()).problem,
            chat_template=template, template_digest=template_digest(template or self._own_template()),
            source=self.facts.source, image=self.facts.image,
            adapters=self._adapters(), draft=self.facts.draft, projector=self._projector(engine),
            host=host, port=port, api_key=api_key,
            needs=tuple(self._needs(engine_name, engine, form, weights)),
        )

    def _origin(self, layered: Any) -> Origin:
        kind: OriginKind = "stage" if layered.layer == "stage" else "modelfile"
        return Origin(kind=kind, where=self.modelfile.where(layered.span))

    def _set(self, name: str, value: Any, origin: Origin) -> Any:
        self.settings[name] = Setting(name=name, value=value, origin=origin)
        return value

    def _parameter(self, name: str, default: Any) -> Any:
        said = self.said.parameters.get(name)
        if said is not None:
            return self._set(name, said.value, self._origin(said))
        if name in self.facts.inherited.parameters and not self._unset("PARAMETER", name):
            return self._set(name, self.facts.inherited.parameters[name], Origin(kind="model"))
        return default if default is None else self._set(name, default, Origin(kind="default"))

    def _unset(self, instruction: str, key: str | None = None) -> bool:
        """Did the Modelfile drop this, so that the base's own does not count either?"""
        return bool({Unset(instruction), Unset(instruction, key)} & self.said.unset)

    def _serve(self, key: str, default: Any) -> Any:
        said = self.said.serve.get(key)
        if said is not None:
            return self._set(f"serve.{key}", said.value, self._origin(said))
        return default if default is None else self._set(f"serve.{key}", default, Origin(kind="default"))

    def _engine_name(self) -> str:
        said = self.said.engine
        name = said.value.name if said else DEFAULT_ENGINE[self.kind]
        self._set("engine", name, self._origin(said) if said else Origin(kind="default"))
        if name not in FORM_OF_ENGINE:
            known = ", ".join(FORM_OF_ENGINE)
            raise Failure("engine-not-yet",
                          f"stage `{self.stage}` asks for engine {name}, which this release cannot run",
                          hint=f"it can run {known}")
        return name

    def _engine(self, name: str) -> Engine | None:
        engine = self.facts.engines.get(name)
        said = self.said.engine
        if engine is None or said is None or not said.value.version:
            return engine
        from packaging.specifiers import SpecifierSet
        from packaging.version import InvalidVersion, Version

        try:
            fits = SpecifierSet(said.value.version).contains(Version(engine.version), prereleases=True)
        except InvalidVersion:
            fits = False
        return engine if fits else None

    def _context_length(self) -> int:
        trained = self.facts.model.context_length if self.facts.model else None
        said = self.said.parameters.get("num_ctx")
        inherited = self.facts.inherited.parameters.get("num_ctx")
        if said is None and isinstance(inherited, int) and inherited > 0 and not self._unset("PARAMETER", "num_ctx"):
            return int(self._set("num_ctx", min(inherited, trained or inherited), Origin(kind="model")))
        if said is None:
            if trained is not None and trained < CONTEXT_LENGTH:
                return int(self._set("num_ctx", trained, Origin(kind="model")))
            return int(self._set("num_ctx", CONTEXT_LENGTH, Origin(kind="default")))
        asked = int(said.value)
        if trained is not None and asked > trained:
            raise Failure("context-too-long",
                          f"`num_ctx` is {asked} at {self.modelfile.where(said.span)}; "
                          f"the model was trained for {trained} tokens",
                          hint=f"write `PARAMETER num_ctx {trained}` or less")
        return int(self._set("num_ctx", asked, self._origin(said)))

    @property
    def _task(self) -> str:
        said = self.said.serve.get("task")
        return str(said.value) if said is not None else "chat"

    def _presume_task(self) -> None:
        presume_can(self._task, self.facts.model, self.facts.reference, bool(self._adapters()))

    def _pooling_profile(self, dialect: str, context_length: int) -> Profile:
        """The profile of a stage that embeds or reranks: nothing is generated, so nothing of a conversation counts."""
        if self._task == "embed":
            said = self.said.serve.get("pooling")
            pooling, origin = (str(said.value), self._origin(said)) if said is not None else ("auto", None)
            if origin is None or pooling == "auto":
                pooling, origin = pooling_of(self.facts.model)
            self._set("serve.pooling", pooling, origin)
        matryoshka = self.said.serve.get("matryoshka")
        model = self.facts.model
        return Profile(
            name=self.modelfile.name.value, dialect=dialect, context_length=context_length, task=self._task,
            matryoshka=bool(matryoshka.value) if matryoshka is not None else
            model.pooling.matryoshka if model is not None else False)

    def _profile(self, engine: str, dialect: str, context_length: int) -> Profile:
        if self._task != "chat":
            return self._pooling_profile(dialect, context_length)
        defaults: dict[str, Any] = {}
        for name, sampling in SAMPLING.items():
            value = self._parameter(name, sampling.default)
            if value is not None and not (name == "seed" and value < 0):  # a negative seed means a random one
                defaults[sampling.field] = value
        predict = self._parameter("num_predict", None)
        system, stop, messages = self._texts()
        text = self._template_text()
        reads = parsers(engine, self._shape().architecture, text)
        return Profile(
            name=self.modelfile.name.value, dialect=dialect, context_length=context_length,
            system=system, messages=messages, defaults=defaults, stop=stop,
            max_tokens=int(predict) if predict is not None and predict > 0 else None,
            tool_parser=self._parser("tool_parser", reads.tool),
            reasoning_parser=self._parser("reasoning_parser", reads.reasoning),
            template_variables=dict(self._thinking(text).variables),
            adapters=tuple(one.name for one in self._adapters()), images=self._sees(engine),
        )

    def _projector(self, engine: Engine | None) -> Weights | None:
        """The projector's file, where the engine is a process of this machine that takes one."""
        contained = engine is not None and engine.provider == "image"
        return self.facts.projector if self._task == "chat" and not contained else None

    def _sees(self, engine_name: str) -> bool:
        """Whether images may be sent: the engine gets a projector, from FROM or as the author's own FLAG."""
        flags = {f.value.flag.partition("=")[0] for f in self.said.flags}
        return self._projector(self.facts.engines.get(engine_name)) is not None or (
            FORM_OF_ENGINE[engine_name] == "gguf" and bool(flags & {"--projector", "--mmproj"}))

    def _parser(self, key: str, of_family: str) -> str | None:
        if f"serve.{key}" not in self.settings and key not in self.said.serve and of_family:
            return str(self._set(f"serve.{key}", of_family, Origin(kind="family")))
        said: str | None = self._serve(key, None)
        return said

    def _thinking(self, template: str | None) -> Thinking:
        said = self.said.serve.get("thinking")
        if said is None or said.value == "auto":
            return Thinking()
        return thinking(str(said.value), self._shape().architecture, template)

    def _shape(self) -> Shape:
        model = self.facts.model
        return Shape() if model is None else Shape(
            architecture=model.architecture, layers=model.layers, attention_heads=model.attention_heads,
            kv_heads=model.kv_heads, precision=model.quantization)

    def _texts(self) -> tuple[str | None, tuple[str, ...], tuple[dict[str, str], ...]]:
        """System prompt, stop strings and messages: the Modelfile's, else what the base brings with it."""
        said, base, model = self.said, self.facts.inherited, Origin(kind="model")
        system, stop, messages = None, tuple(dict.fromkeys(str(s.value) for s in said.stop)), tuple(
            {"role": m.value.role, "content": m.value.content} for m in said.messages)
        if said.system:
            system = self._set("system", said.system.value, self._origin(said.system)) or None
        elif base.system and not self._unset("SYSTEM"):
            system = self._set("system", base.system, model)
        if stop:
            self._set("stop", [s.value for s in said.stop], self._origin(said.stop[-1]))
        elif base.stop and not self._unset("PARAMETER", "stop"):
            stop = tuple(self._set("stop", list(base.stop), model))
        if messages:
            self._set("messages", len(messages), self._origin(said.messages[0]))
        elif base.messages and not self._unset("MESSAGE"):
            messages = tuple(dict(one) for one in base.messages)
            self._set("messages", len(messages), model)
        return system, stop, messages

    def _chat_template(self) -> str | None:
        said = self.said.template
        if self._task != "chat":
            return None
        if said is None:
            base = self.facts.inherited.template
            if base and self.facts.model is not None and not self.facts.model.chat_template:
                self._set("template", "the base's", Origin(kind="model"))
                return chat_template(base, self.facts.model)
            if self.facts.model is not None and not self.facts.model.chat_template:
                raise Failure("no-chat-template", f"{self.facts.reference} has no chat template of its own",
                              hint='give it one: TEMPLATE """{{ .System }} {{ .Prompt }}""", or in Jinja')
            if (text := begun(self.facts.model)) is not None:
                self._set("template", "the model's own behind its first token", Origin(kind="model"))
            return text
        self._set("template", "the Modelfile's", self._origin(said))
        return chat_template(said.value, self.facts.model)

    def _adapters(self) -> tuple[ServedAdapter, ...]:
        if asked := wanted_adapters(self.modelfile, self.stage):
            self._set("adapters", spelled(asked), asked[-1].origin)
        return served_adapters(self.modelfile, self.stage, self.facts)

    def _template_text(self) -> str | None:
        """The chat template that is used, the Modelfile's or the model's own."""
        return self._chat_template() or self._own_template()

    def _own_template(self) -> str | None:
        return self.facts.model.chat_template if self.facts.model and self._task == "chat" else None

    def address(self) -> tuple[str, int, str | None]:
        """Host, port and the API key's reference."""
        over = self.overrides
        host, port = str(self._serve("host", "127.0.0.1")), int(self._serve("port", 8484))
        if over.host is not None:
            host = self._set("serve.host", over.host, Origin(kind="command line"))
        if over.port is not None:
            kind: OriginKind = "environment" if over.port_origin == "environment" else "command line"
            port = self._set("serve.port", over.port, Origin(kind=kind))
        api_key = self._serve("api_key", None)
        if over.api_key is not None:
            api_key = self._set("serve.api_key", over.api_key, Origin(kind="environment"))
        return host, port, api_key

    def _needs(self, engine_name: str, engine: Engine | None, form: str, weights: Weights | None) -> list[Need]:
        needs = []
        if weights is None and self.facts.base is None and self.facts.source is None:
            needs.append(Need(code="download", message=f"fetch {self.facts.reference}", automatic=True))
            if form == "safetensors" and self.facts.reference.endswith(".gguf"):
                needs.append(Need(code="dequantize", automatic=True, message="make the form that the engine loads"))
        for step in self.facts.steps if weights is None else ():
            needs.append(Need(code=step.kind, message=f"{step}, once", automatic=True))
            if step.tool is not None and step.tool not in self.facts.tools:
                needs.append(Need(code="tool", automatic=False, message=f"the {step.tool} is not installed, and the "
                                  f"stage wants to {step}: run `modelkit tool install {step.tool}`"))
        needs += adapter_needs(self._adapters(), self.facts, form)
        if self.said.draft is not None and form == "gguf" and self.facts.draft is None:
            needs.append(Need(code="draft", automatic=False, message=f"there is no GGUF at `{self.said.draft.value}` "
                              f"({self.modelfile.where(self.said.draft.span)}: DRAFT)"))
        if self.said.projector is not None and form == "gguf" and self.facts.projector is None:
            needs.append(Need(code="projector", automatic=False, message="there is no projector at "
                              f"`{self.said.projector.value}` ({self.modelfile.where(self.said.projector.span)}: "
                              "FROM)"))
        if engine is None:
            needs.append(Need(code="engine", automatic=False, message=self._missing_engine(engine_name)))
        return needs

    def _missing_engine(self, name: str) -> str:
        found = self.facts.engines.get(name)
        if found is not None and self.said.engine is not None:
            return (f"{name} {found.version} is installed, but {self.modelfile.where(self.said.engine.span)} "
                    f"asks for {self.said.engine.value.version}")
        if name == "vllm":
            return "vLLM is not installed: run `modelkit engine install vllm`"
        if name == "llama-server":
            return ("no llama-server is here: put one on PATH, run `pip install 'modelkit-llm[llamacpp]'`, or write "
                    "`ENGINE llama.cpp`")
        if name not in ("llama.cpp", "llama-server"):
            return f"{name} runs in a container: write `PLATFORM compose`, `kubernetes` or another that has containers"
        return ("llama.cpp is not installed: run `modelkit engine install llama.cpp`, which compiles it, or "
                "`pip install 'modelkit-llm[llamacpp]'`, which needs no compiler")
