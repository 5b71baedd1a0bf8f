"""Machines by name: `rtx4090`, `2xh100`, `m4-max-64gb`, `rtx4090+64gb+ddr5-5600x2`, `cpu:ddr5-5600x2+16c`.

A name is one of the tables' (`cards`, `machines`), however its maker, form and case are written, with a number of GPUs
before or behind it and, after `+`, what stands beside them: memory (`64gb`), its kind and channels, cores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from modelkit.failure import Failure
from modelkit.planning.fit.cards import CARDS, Card
from modelkit.planning.fit.hardware import Device, Hardware
from modelkit.planning.fit.machines import (
    APPLE,
    CORE_FLOPS,
    CORES_A_CHANNEL,
    PROCESSORS,
    Apple,
    Processor,
    gpu_share,
    memory_bandwidth,
)

MOST = 64
"""GPUs of one machine, racks joined by NVLink (72) left out."""

_MAKERS = re.compile(r"\b(?:nvidia|tesla|geforce|quadro|amd|instinct|radeon|apple|intel|graphics|gpu)\b[ _-]*")
_FORMS = re.compile(r"[ _-]*\b(sxm\d?|pcie|nvl|server|oam)\b")
_NOISE = re.compile(r"[ _-]*\b(?:generation|blackwell|workstation|edition|max-q|hbm\w*|gen\d)\b")
_SIZE = re.compile(r"[ _-]*\b(\d{1,4}) ?gi?b\b")
_RAM = re.compile(r"(\d{1,5}) ?([gt])i?b")
_BRIDGE = re.compile(r"[ _-]*\b(?:nvlink|bridge[d]?)\b")
_CORES = re.compile(r"(\d{1,4}) ?c(?:ores?|pus?)?")
_MEMORY = re.compile(r"(?:lp)?ddr\d?x?[ _-]?(\d{4,5})(?: ?[x×*] ?(\d{1,2}))?")
_BEFORE, _BEHIND = re.compile(r"(\d{1,4}) ?[x×*] ?(.+)"), re.compile(r"(.+?) ?[x×*] ?(\d{1,4})")
_NAMES = ("name a GPU (`rtx4090`, `2xh100`, `mi300x`), a chip of Apple's (`m4-max-64gb`) or a processor's memory "
          "(`cpu:ddr5-5600x2`); docs/reference/hardware.md has all names")
_ALIASES = {"dgxspark": "gb10", "spark": "gb10", "ryzenaimax395": "strixhalo", "ryzenaimax+395": "strixhalo"}


class Beside(NamedTuple):
    """What stands beside the GPUs of a name; None where it is not said."""

    ram: int | None = None
    bandwidth: float | None = None
    channels: int = 0
    cores: int = 0


def profile(word: str) -> Hardware:
    """The machine that a word names. Raises Failure `unknown-hardware`, with the names that are near.

    >>> profile("2xh100").gpu.link, profile("RTX 4090").gpu.name
    ('nvlink', 'RTX-4090')
    """
    named, *rest = [part.strip() for part in word.lower().replace("_", " ").split("+")]
    if not word.strip():
        raise Failure("unknown-hardware", "no machine is named", _NAMES)
    if _memory_kind(named) is not None:
        named, rest = "", [named, *rest]
    elif named.startswith("cpu"):
        named, rest = "", [*([named[3:].strip(" :")] if named[3:].strip(" :") else []), *rest]
    beside = _beside(rest, word)
    found = _machine(named, beside) if named else _plain_cpu(beside, word)
    if found is None:
        near = nearest(named)
        raise Failure("unknown-hardware", f"no machine is called `{' '.join(word.split())}`", "did you mean "
                      + " or ".join(f"`{name}`" for name in near) + "?" if near else _NAMES)
    return replace(found, name=" ".join(word.split()))


def card(word: str, memory: int | None = None) -> Card | None:
    """The GPU that a word means, with the form and size it says; of a driver's word, `memory` decides the size.

    >>> card("NVIDIA A100-SXM4-80GB").full_name
    'A100-80GB-SXM'
    """
    text = word.lower().replace("_", " ")
    if "laptop" in text or "mobile" in text:  # other chips under the same names
        return None
    size = _SIZE.search(text)
    forms = {_form(one[1]) for one in _FORMS.finditer(text)} - {""}
    bare = _key(_SIZE.sub("", _NOISE.sub("", _FORMS.sub("", _MAKERS.sub("", text)))))
    alike = [row for row in CARDS if _ALIASES.get(bare, bare) in _keys(row)]
    if forms and any(row.form for row in alike):
        alike = [row for row in alike if row.form.lower() in forms] or [
            row for row in alike if not row.form and forms <= {"server"}]
    if memory is not None:
        return min((row for row in alike if abs(row.memory - memory) < 0.15 * row.memory),
                   key=lambda row: abs(row.memory - memory), default=None)
    return next((row for row in alike if size is None or row.size == int(size[1])), None)


def accelerated(word: str, count: int = 1) -> Hardware | None:
    """So many of the GPU that `SERVE accelerator` names; None where its memory and speed are not known (a laptop's, or
    one with a memory that the table lacks), although its compute capability may be."""
    one = card(word)
    if one is None or not 1 <= count <= MOST:
        return None
    found = _with_cards(one, count, bridge=False, beside=Beside())
    return replace(found, name=f"{count}x{word}" if count > 1 else word)


def device(one: Card, count: int = 1, *, bridge: bool = False) -> Device:
    """A GPU of the table beside `count - 1` others of its kind."""
    link, moves = one.neighbours(bridge) if count > 1 else ("none", None)
    return Device(name=one.full_name, kind=one.kind, memory=one.memory, bandwidth=one.bandwidth * 1e9,
                  flops=one.bf16 * 1e12, flops_fp8=one.fp8 * 1e12 or None, capability=one.capability or None,
                  link=link, link_bandwidth=moves)


def nearest(word: str) -> list[str]:
    """Up to three names that were probably meant."""
    from difflib import get_close_matches

    told = {_key(name): name for name in names()} | {
        key: row.full_name.lower() for row in reversed(CARDS) for key in _keys(row)}
    near: list[str] = []
    for text in (word.lower(), _counted(word.lower())[1]):
        near = near or get_close_matches(_key(_MAKERS.sub("", text)), list(told), 5, 0.6)
    return list(dict.fromkeys(told[key] for key in near))[:3]


def names() -> list[str]:
    """Every name of the tables, as the reference page says it."""
    rows: Iterable[str] = (*(row.full_name for row in CARDS), *(row.name for row in APPLE), "Strix-Halo",
                           *(f"cpu:{row.name}" for row in PROCESSORS))
    return list(dict.fromkeys(row.lower() for row in rows))


def _machine(text: str, beside: Beside) -> Hardware | None:
    """A named machine: GPUs, a chip with a GPU, a processor."""
    plain = _BRIDGE.sub("", text)
    for count, name in (_counted(plain, whole=True), _counted(plain)):
        one, row = card(name), _processor(name)
        if (one or row) and not 1 <= count <= MOST:
            raise Failure("unknown-hardware", f"a machine has 1 to {MOST} {'GPUs' if one else 'sockets'}, not {count}",
                          hint="name one machine; a cluster is several of them")
        if one is not None:
            return _with_cards(one, count, bridge=plain != text, beside=beside)
        if row is not None:
            return _processors(row, count, beside)
        if count == 1 and (chip := _apple(name, beside)) is not None:
            return chip
    return None


def _with_cards(one: Card, count: int, *, bridge: bool, beside: Beside) -> Hardware:
    gpus = (device(one, count, bridge=bridge),) * count
    if one.shared and beside.ram is None:  # one memory for both, of which the GPU may have nearly all
        beside = beside._replace(ram=one.memory, bandwidth=one.bandwidth * 1e9)
    return _hardware(beside, gpus)


def _hardware(beside: Beside, gpus: tuple[Device, ...] = ()) -> Hardware:
    cores = beside.cores or beside.channels * CORES_A_CHANNEL
    return Hardware("", gpus, cpus=max(1, cores), ram=beside.ram, cpu_bandwidth=beside.bandwidth,
                    cpu_flops=cores * CORE_FLOPS if cores else None)


def _processors(row: Processor, count: int, beside: Beside) -> Hardware:
    """Sockets of one kind; weights are taken to be spread over the memory of all."""
    known = _memory_kind(row.memory)
    assert known is not None
    return _hardware(Beside(beside.ram, known[0] * count, known[1] * count, beside.cores or row.cores * count))


def _processor(text: str) -> Processor | None:
    bare = _key(text)
    return next((row for row in PROCESSORS if _key(row.name) == _ALIASES.get(bare, bare)), None)


def _apple(text: str, beside: Beside) -> Hardware | None:
    """A Mac. Its memory decides the variant where a chip has several, as only some are sold with it."""
    size, cores = _SIZE.search(text), re.search(r"\b(\d{2}) ?c(?:ores?)?\b", text)
    bare = _key(_SIZE.sub("", _MAKERS.sub("", text).replace(cores[0] if cores else "\0", "")))
    alike = [row for row in APPLE if _key(row.name) == bare and (not cores or row.gpu_cores == int(cores[1]))]
    gib = int(size[1]) if size else (beside.ram or 0) >> 30
    row = next((one for one in alike if not gib or gib in one.sizes), None)
    if row is None:
        if alike:
            sold = sorted({one for row in alike for one in row.sizes})
            raise Failure("unknown-hardware", f"no {alike[0].name} has {gib} GB",
                          hint=f"it is sold with {', '.join(map(str, sold))} GB")
        return None
    return mac(row, gib or row.sizes[0])


def mac(row: Apple, gib: int) -> Hardware:
    """A Mac with a chip of the table and so much memory, which processor and GPU share."""
    gpu = Device(row.name, "metal", int(gib * gpu_share(gib) * 2**30), bandwidth=row.bandwidth * 1e9,
                 flops=row.bf16 * 1e12, link="unified")
    return Hardware("", (gpu,), cpus=row.cpus, ram=gib << 30, cpu_bandwidth=row.bandwidth * 1e9,
                    cpu_flops=row.cpus * CORE_FLOPS)


def _beside(parts: Iterable[str], word: str) -> Beside:
    found = Beside()
    for part in parts:
        if (size := _RAM.fullmatch(part)) is not None:
            said = Beside(ram=int(size[1]) << (30 if size[2] == "g" else 40))
        elif (cores := _CORES.fullmatch(part)) is not None:
            said = Beside(cores=int(cores[1]))
        elif (kind := _memory_kind(part)) is not None:
            said = Beside(bandwidth=kind[0], channels=kind[1])
        elif (row := _processor(part)) is not None and (kind := _memory_kind(row.memory)) is not None:
            said = Beside(bandwidth=kind[0], channels=kind[1], cores=found.cores or row.cores)
            found = found._replace(cores=0)
        else:
            raise Failure("unknown-hardware", f"`{part}` in `{word}` is no memory, no processor and no number of cores",
                          "write `64gb`, `ddr5-5600x2`, `epyc-9004` or `16c` after a `+`")
        if not any(said) or any(one and other for one, other in zip(said, found, strict=True)):
            raise Failure("unknown-hardware", f"`{part}` in `{word}` is {'said twice' if any(said) else 'nothing'}",
                          "say each of memory, its kind and the number of cores once")
        found = Beside(said.ram or found.ram, said.bandwidth or found.bandwidth, said.channels or found.channels,
                       said.cores or found.cores)
    return found


def _plain_cpu(beside: Beside, word: str) -> Hardware:
    if beside.bandwidth is None:
        raise Failure("unknown-hardware", f"`{word}` does not say what memory the processor has",
                      "write its kind and channels: `cpu:ddr5-5600x2`, with `+64gb` for how much and `+16c` for its "
                      "cores; without --hardware it is this machine")
    return _hardware(beside)


def _memory_kind(text: str) -> tuple[float, int] | None:
    """Bandwidth and channels; two channels where none are said."""
    found = _MEMORY.fullmatch(text)
    if found is None or not 400 <= int(found[1]) <= 20000 or not 1 <= (channels := int(found[2] or 2)) <= 48:
        return None
    return memory_bandwidth(int(found[1]), channels), channels


def _counted(text: str, whole: bool = False) -> tuple[int, str]:
    if not whole and (found := _BEFORE.fullmatch(text)) is not None:
        return int(found[1]), found[2]
    if not whole and (found := _BEHIND.fullmatch(text)) is not None:
        return int(found[2]), found[1]
    return 1, text


def _form(word: str) -> str:
    return {"sxm": "sxm", "oam": ""}.get(word.rstrip("0123456789"), word)


def _keys(row: Card) -> set[str]:
    """What a card's name is without its small words: `4090` is enough for an RTX-4090."""
    bare = _key(row.name)
    return {bare, re.sub(r"^(rtxpro|rtx|rx|pro)(?=.{4})", "", bare), re.sub(r"^rtx(?=a\d)", "", bare),
            re.sub(r"^(rtx)(?=pro)", "", bare)} - {"6000"}


def _key(text: str) -> str:
    return re.sub(r"[ _-]+", "", text).lower()
