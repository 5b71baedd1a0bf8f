"""Known weaknesses of the programs that stages run: which versions, how grave, fixed in which, and who says so.

Facts were looked up in public advisory databases on `SEEN`; the sentences are ours. A row that cannot be traced to an
id of such a database does not belong here. Builds of llama.cpp are their numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any, Literal

from modelkit.engines.flags.table import filed

SEEN = "2026-11-23"

Severity = Literal["critical", "high", "medium", "unrated"]
"""By the CVSS 3 score of the source; `unrated` where none was found."""

GRAVE: frozenset[Severity] = frozenset(("critical", "high"))

@dataclass(frozen=True)
class Advisory:
    """`affected` is PEP 440 ranges with ` || ` between them. `unless` says why modelkit's own use is out of reach."""

    engine: str
    id: str
    affected: str
    fixed: str  # "" where no fixed version was known
    severity: Severity
    summary: str
    source: str
    aliases: tuple[str, ...] = ()
    unless: str = ""

    def affects(self, version: str) -> bool:
        """Whether that version is affected; False for one that is not spelled as versions are."""
        from packaging.specifiers import SpecifierSet
        from packaging.version import InvalidVersion, Version

        try:
            asked = Version(version)
        except InvalidVersion:
            return False
        public = asked.public  # `0.32.0+cpu` is 0.32.0
        return any(SpecifierSet(one).contains(public, prereleases=True) for one in self.affected.split("||"))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@cache
def advisories(engine: str, version: str) -> tuple[Advisory, ...]:
    """What is known against that version of an engine, a router or Ray; the gravest first."""
    name = filed(engine, version)
    if name == "llama-server":
        version = version.rpartition(".")[2]  # of `2026.10.11549` the build
    order = ("critical", "high", "medium", "unrated")
    found = [one for one in ADVISORIES if one.engine == name and one.affects(version)]
    return tuple(sorted(found, key=lambda one: (order.index(one.severity), one.id)))


_CVE, _OSV = "https://www.cve.org/CVERecord?id=", "https://osv.dev/vulnerability/"
_UNTRUSTED_CODE = "modelkit never lets vLLM run a repository's code"
_DUMPER = "modelkit never sets DUMPER_SERVER_PORT"


def _rows() -> Iterator[Advisory]:
    yield from _vllm()
    yield from _llama_server()
    yield from _sglang()
    yield Advisory("llama-cpp-python", "CVE-2024-34359", ">=0.2.30,<0.2.72", "0.2.72", "critical",
                   "a model's own chat template runs code", _CVE + "CVE-2024-34359")
    yield from _others()


def _vllm() -> Iterator[Advisory]:
    def row(id: str, affected: str, fixed: str, severity: Severity, summary: str, *aliases: str,
            unless: str = "") -> Advisory:
        source = (_OSV if id.startswith("PYSEC") else _CVE) + id
        return Advisory("vllm", id, affected, fixed, severity, summary, source, aliases, unless)

    yield row("CVE-2026-115911", ">=0.19.0,<0.32.0", "0.32.0", "medium", "a chat template may render without an end",
              "GHSA-542m-9234-8gvf", "PYSEC-2026-4344")
    yield row("PYSEC-2026-4349", ">=0.16.0,<0.32.0", "0.32.0", "medium",
              "a request's own chat template gets past the setting that forbids it")
    yield row("CVE-2026-114053", ">=0.7.3,<0.31.0", "0.31.0", "unrated",
              "a request chooses which revision of a repository's code is run", unless=_UNTRUSTED_CODE)
    yield row("CVE-2026-116180", ">=0.8.5,<0.31.0", "0.31.0", "unrated",
              "log-probabilities of a prompt in a shared cache end the engine")
    yield row("CVE-2026-114052", ">=0.25.0,<0.31.0", "0.31.0", "unrated",
              "requests to /tokenize fill the memory where MOSS-Audio is served")
    yield row("CVE-2026-114051", "<0.31.0", "0.31.0", "unrated",
              "one request to /inference/v1/generate hangs all later ones")
    yield row("CVE-2026-114049", "<0.31.0", "0.31.0", "unrated",
              "the token allow-list of a request goes on in another's answer")
    yield row("PYSEC-2026-4353", ">=0.20.0,<0.30.0", "0.30.0", "high",
              "multimodal metadata to /inference/v1/generate ends the engine")
    yield row("CVE-2026-105757", ">=0.18.0,<0.30.0", "0.30.0", "medium", "a request with a grammar ends the engine",
              "GHSA-85xf-c7hm-whqw", "PYSEC-2026-4199")
    yield row("CVE-2026-105754", "<0.30.0", "0.30.0", "medium",
              "the scale-out endpoint trusts tensors and hashes of its callers")
    yield row("CVE-2026-105760", "<0.30.0", "0.30.0", "medium", "a small video costs much time and memory",
              "GHSA-58v5-2m8f-94pr")
    yield row("CVE-2026-109311", "<0.29.0", "0.29.0", "unrated", "malformed audio corrupts the API server's heap")
    yield row("PYSEC-2026-4350", ">=0.22.0,<0.24.0", "0.24.0", "high",
              "too many token ids for log-probabilities over gRPC end the engine",
              unless="modelkit never starts vLLM's gRPC server")
    yield row("PYSEC-2026-2303", ">=0.12.0,<0.24.0", "0.24.0", "medium", "a prompt of embeddings ends the engine")
    yield row("CVE-2026-54236", "<=0.23.0", "", "medium", "errors of /v1/messages tell memory addresses",
              "GHSA-hgg8-fqqc-vfmw", "PYSEC-2026-3408")
    yield row("CVE-2026-47155", "<0.22.0", "0.22.0", "unrated", "a pinned revision does not hold for all files",
              "GHSA-3ww4-5jv9-j5gm", "PYSEC-2026-2301")
    yield row("CVE-2026-41523", "<0.22.0", "0.22.0", "unrated", "a check of model code is an assert",
              "GHSA-q8gq-377p-jq3r", "PYSEC-2026-2300", unless="modelkit never runs Python with -O")
    yield row("CVE-2026-34756", ">=0.1.0,<0.19.0", "0.19.0", "unrated", "a huge `n` fills the memory",
              "GHSA-3mwp-wvh9-7528", "PYSEC-2026-2298")
    yield row("CVE-2026-27893", ">=0.10.1,<0.18.0", "0.18.0", "high",
              "two model families run a repository's code although that is forbidden", "GHSA-7972-pg2x-xr59",
              "PYSEC-2026-2297")
    yield row("CVE-2026-22778", ">=0.8.3,<0.14.1", "0.14.1", "critical",
              "an invalid image's error tells a memory address, a step to running code", "GHSA-4r2x-xpjr-7cvv")
    yield row("CVE-2026-22807", ">=0.10.1,<0.14.0", "0.14.0", "high",
              "a repository's code is run while a model is resolved", "GHSA-2pc9-4j83-qjmr")
    yield row("CVE-2026-56340", ">=0.10.2,<0.13.0", "0.13.0", "high", "sparse tensors in embeddings are not checked",
              "GHSA-mcmc-2m55-j8jj", "PYSEC-2026-250")


def _llama_server() -> Iterator[Advisory]:
    def row(id: str, affected: str, fixed: str, severity: Severity, summary: str, *aliases: str,
            unless: str = "") -> Advisory:
        return Advisory("llama-server", id, affected, fixed, severity, summary, _CVE + id, aliases, unless)

    yield row("CVE-2026-118375", ">=8841,<11865", "11865", "unrated", "RPC over RDMA writes past a buffer",
              unless="modelkit never runs llama.cpp's RPC server")
    yield row("CVE-2026-107183", ">=8227,<11393", "11393", "unrated",
              "a request's own chat parser corrupts the heap of llama-server")
    yield row("CVE-2026-43631", ">=7492,<=9060", "", "unrated",
              "requests while it goes to sleep use freed memory (--sleep-idle-seconds)")
    yield row("CVE-2026-43632", ">=7492,<=9060", "", "unrated",
              "tokenization while it goes to sleep uses freed memory (--sleep-idle-seconds)")
    yield row("CVE-2026-43629", ">=4882,<=9058", "", "unrated", "a saved slot's file overflows the heap",
              unless="modelkit never lets llama-server restore slots from files")


def _sglang() -> Iterator[Advisory]:
    def row(id: str, affected: str, fixed: str, severity: Severity, summary: str, *aliases: str,
            unless: str = "") -> Advisory:
        return Advisory("sglang", id, affected, fixed, severity, summary, _CVE + id, aliases, unless)

    yield row("CVE-2026-112266", "<=0.5.22", "", "medium", "a client's short request id aborts others' requests")
    yield row("CVE-2026-111391", ">=0.5.10,<=0.5.22", "", "unrated", "the debug dumper runs code of a request",
              unless=_DUMPER)
    yield row("CVE-2026-111392", ">=0.5.13,<=0.5.21", "", "unrated",
              "a forged image hash puts one request's image into another's answer")
    yield row("CVE-2026-93034", "<=0.5.20", "", "unrated", "messages between its processes are unpickled")
    yield row("CVE-2026-86793", "<=0.5.18", "", "unrated", "/update_weights_from_tensor runs pickled code")
    yield row("CVE-2026-15976", "<=0.5.15", "", "unrated", "/update_weights_from_disk runs pickled code",
              "GHSA-wf98-gv64-5wrf")
    yield row("CVE-2026-15971", "<=0.5.15", "", "unrated", "the debug dumper runs code of a request",
              "GHSA-h6rf-77vv-9mvj", unless=_DUMPER)
    yield row("CVE-2026-15969", "<=0.5.15", "", "unrated", "/load_lora_adapter_from_tensors runs pickled code",
              "GHSA-2wvm-gjg7-5jfm")
    yield row("CVE-2026-3059", "<0.5.10", "0.5.10", "unrated", "the multimodal broker runs pickled code of anybody",
              "GHSA-rgq9-fqf5-fv58", "PYSEC-2026-539")
    yield row("CVE-2026-3060", "<0.5.10", "0.5.10", "unrated",
              "disaggregated encoding runs pickled code of anybody", "GHSA-jx93-g359-86wm", "PYSEC-2026-537")


def _others() -> Iterator[Advisory]:
    yield Advisory("tensorrt-llm", "CVE-2026-24142", "<1.2", "1.2", "unrated", "a serialized handle runs code",
                   _CVE + "CVE-2026-24142")
    yield Advisory("tensorrt-llm", "CVE-2025-33255", "<1.2", "1.2", "unrated", "the MPI server unpickles messages",
                   _CVE + "CVE-2025-33255")
    yield Advisory("ray", "CVE-2026-57516", "<2.56.0", "2.56.0", "unrated", "reading a WebDataset runs its pickles",
                   _CVE + "CVE-2026-57516")
    yield Advisory("ray", "CVE-2026-41486", "<=2.54.0", "2.55.0", "unrated", "reading a Parquet file runs its pickles",
                   _CVE + "CVE-2026-41486", ("GHSA-mw35-8rx3-xf9r", "PYSEC-2026-2272"))
    yield Advisory("ray", "CVE-2025-62593", "<2.52.0", "2.52.0", "critical",
                   "a web page in a browser can submit jobs to the dashboard", _CVE + "CVE-2025-62593",
                   ("GHSA-q279-jhrf-cc6v",))
    for id, summary in (("CVE-2026-48044", "a small compressed body grows without a bound"),
                        ("CVE-2026-47221", "an internal redirect ends the process"),
                        ("CVE-2026-48042", "deeply nested JSON overflows the stack")):
        yield Advisory("envoy", id, "<1.35.13 || >=1.36,<1.36.9 || >=1.38,<1.38.3", "1.38.3", "unrated", summary,
                       "https://github.com/envoyproxy/envoy/releases/tag/v1.38.3")


ADVISORIES: tuple[Advisory, ...] = tuple(_rows())
"""Every row; ids are unique within an engine."""
