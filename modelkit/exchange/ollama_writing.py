"""The nearest Modelfile that Ollama can load to a stage of ours, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from modelkit.exchange.losses import Account
from modelkit.exchange.quoting import LONG, nearest, plain, written
from modelkit.exchange.subjects import Exported, Subject
from modelkit.exchange.unsaid import unsaid
from modelkit.language.checking.references import is_path
from modelkit.language.layers import Effective
from modelkit.language.quantization import named_in, precision
from modelkit.templates import is_jinja

Command = tuple[str, str, str]  # keyword, name, value

_SERVE = {
    "keep_alive": "set OLLAMA_KEEP_ALIVE, or `keep_alive` in a request",
    "max_concurrency": "set OLLAMA_NUM_PARALLEL for the server",
    "port": "set OLLAMA_HOST for the server", "host": "set OLLAMA_HOST for the server",
    "kv_cache": "set OLLAMA_KV_CACHE_TYPE for the server",
    "thinking": "send `think` in a request",
    "api_key": "Ollama asks for no key: put something in front of it",
    "tool_parser": "Ollama reads calls by the template, or by its own PARSER",
    "reasoning_parser": "Ollama reads reasoning by the template, or by its own PARSER",
}
_QUOTED = {"SYSTEM": LONG, "TEMPLATE": LONG, "LICENSE": LONG, "stop": '"'}


def write(subjects: Sequence[Subject]) -> Exported:
    """A Modelfile for `ollama create`: eleven instructions, no blocks."""
    (subject,) = subjects
    account = Account()
    lines = [_line(command, account) for command in _commands(subject, account)]
    _name(subject, account)
    unsaid(subject, account, "Ollama", _SERVE)
    head = f"# {subject.name}, stage {subject.stage}, for `ollama create {subject.name} -f FILE`.\n"
    return Exported(head + "".join(f"{line}\n" for line in lines), account.graded)


def _line(command: Command, account: Account) -> str:
    keyword, name, value = command
    kept, problem = nearest(value)
    if problem:
        account.approximated(" ".join(part for part in (keyword, name) if part), problem)
    quoted = written(kept, _QUOTED.get(name or keyword, ""))
    assert quoted is not None, "nearest() gives what can be written"
    return " ".join(part for part in (keyword, name, quoted) if part)


def _commands(subject: Subject, account: Account) -> Iterator[Command]:
    said = subject.said
    yield "FROM", "", _base(subject, account)
    if said.projector is not None:
        yield "FROM", "", said.projector.value
    yield from _adapters(said, account)
    if said.draft is not None:
        yield "DRAFT", "", said.draft.value
    for keyword, one in (("RENDERER", said.renderer), ("PARSER", said.parser)):
        if one is not None:
            yield keyword, "", one.value
    if said.template is not None:
        if is_jinja(said.template.value):
            account.lost("TEMPLATE", "it is Jinja, and Ollama's are Go templates: the base's own is used")
        else:
            yield "TEMPLATE", "", said.template.value
    if said.system is not None:
        yield "SYSTEM", "", said.system.value
    for message in said.messages:
        if message.value.role == "tool":
            account.lost(f"MESSAGE tool {message.value.content}", "Ollama's roles are system, user and assistant")
        else:
            yield "MESSAGE", message.value.role, message.value.content
    for name, value in said.parameters.items():
        yield "PARAMETER", name, plain(value.value)
    for stop in said.stop:
        yield "PARAMETER", "stop", stop.value
    for licence in said.licenses:
        yield "LICENSE", "", licence.value


def _base(subject: Subject, account: Account) -> str:
    """FROM as Ollama takes it: names of its registry, `hf.co/…`, paths."""
    said, base = subject.said, subject.base
    assert said.base is not None
    text = said.base.value
    quantized = said.quantize.value.name if said.quantize is not None else ""
    quantized = "" if quantized == named_in(text) else quantized
    row = precision(quantized) if quantized else None
    if base.kind == "path":
        _quantized(quantized, f"`ollama create --quantize {quantized.lower()}` makes it", account)
        return text if is_path(text) else f"./{text}"
    if base.kind == "ollama":
        _quantized(quantized, "choose the tag that has it", account)
        return base.text.removeprefix("ollama://").partition("@")[0] + _pin(base.digest, f"FROM {text}", account)
    if base.kind == "hf":
        pick = base.pick
        if not pick and row is not None and row.form == "gguf":
            pick = row.name
        else:
            _quantized(quantized, "Ollama takes what the repository has, as GGUF", account)
        if "gguf" not in f"{base.repo} {base.pick}".lower():
            account.approximated(f"FROM {text}", "Ollama pulls repositories that have GGUF files only")
        return f"hf.co/{base.repo}" + (f":{pick}" if pick else "") + _pin(base.revision, f"FROM {text}", account)
    file = base.file_name.partition(":")[0].partition("@")[0]
    file = file if file.endswith(".gguf") else f"{file}.gguf"
    account.lost(f"FROM {text}", f"Ollama cannot fetch it: `modelkit convert {text} --to gguf -o {file}` puts it there")
    _quantized(quantized, f"`modelkit convert --quantize {quantized}` makes it", account)
    return f"./{file}"


def _pin(pin: str, said: str, account: Account) -> str:
    if pin:
        account.lost(said, f"Ollama pins nothing: `@{pin}` is left out")
    return ""


def _quantized(name: str, instead: str, account: Account) -> None:
    if name and name != "none":
        account.lost(f"QUANTIZE {name}", instead)


def _adapters(said: Effective, account: Account) -> Iterator[Command]:
    """The last adapter that is part of the model: Ollama takes one, and from a path."""
    whole = [one.value for one in said.adapters if one.value.name is None]
    for one in said.adapters:
        if one.value.name is not None:
            account.lost(f"ADAPTER {one.value.reference} AS {one.value.name}", "Ollama serves no adapter by its own "
                         f"name: export a file with `ADAPTER {one.value.reference}` for it")
    for unused in whole[:-1]:
        account.lost(f"ADAPTER {unused.reference}", "only the last one counts")
    if whole and is_path(whole[-1].reference):
        yield "ADAPTER", "", whole[-1].reference
    elif whole:
        account.lost(f"ADAPTER {whole[-1].reference}", "Ollama takes adapters from paths only")


def _name(subject: Subject, account: Account) -> None:
    account.unneeded(f"NAME {subject.name}", f"`ollama create {subject.name}` gives it")
