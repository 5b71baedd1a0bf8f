"""What a precision costs in quality, as far as somebody measured it: figures with their source and their model. Pure.

No figure is of all models. On one scale (llama.cpp's `perplexity`, Wikitext-2) Q4_K_M moves Llama-3-8B two and a half
times as far from its 16 bits as Llama-2-7B: models that were trained on more lose more. Formats of vLLM were measured
by other tests, and between the two families nobody compared: `finer` ranks inside one table only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from modelkit.language.quantization import precision as row_of
from modelkit.models.anatomy.anatomy import Anatomy
from modelkit.planning.fit.ggml_mix import MOSTLY

_PERPLEXITY = "llama.cpp's tools/perplexity/README.md"
_CARD = "RedHatAI's model card"


@dataclass(frozen=True)
class Quality:
    """One measurement of one precision of one model. None where it was not measured.

    `perplexity` is what is added to that of the 16-bit model, `divergence` the mean Kullback-Leibler divergence of its
    next-token distribution from the 16-bit model's, `same_top` the share of tokens whose most probable next one stays
    the same, `recovery` the share of the 16-bit model's score in a benchmark. `unlike` says why it may not hold here.
    """

    precision: str
    model: str
    source: str
    perplexity: float | None = None
    divergence: float | None = None
    same_top: float | None = None
    recovery: float | None = None
    benchmark: str = ""
    finding: str = ""  # where the source has words, and no figure
    imatrix: bool = False
    unlike: str = ""

    @property
    def table(self) -> tuple[str, str, str]:
        """What it may be compared within."""
        return self.model, self.source, self.benchmark

    def __str__(self) -> str:
        figures = [self.finding] if self.finding else []
        if self.perplexity is not None:
            figures.append(f"{self.perplexity:+.3g} perplexity")
        if self.divergence is not None:
            figures.append(f"mean KLD {self.divergence:.2g}")
        if self.same_top is not None:
            figures.append(f"{self.same_top:.1%} same top token")
        if self.recovery is not None:
            figures.append(f"{self.recovery:.1%} of the score in {self.benchmark}")
        made = ", with an importance matrix" if self.imatrix else ""
        unlike = f"; {self.unlike}" if self.unlike else ""
        return f"{', '.join(figures)} ({self.model}, {self.source}{made}{unlike})"


# Added perplexity and mean KLD, and with an importance matrix of Wikitext (10 million tokens; IQ1_S: one million).
_LLAMA_3: Mapping[str, tuple[tuple[float, float] | None, tuple[float, float] | None]] = {
    "F16": ((0.001524, 0.000551), None), "BF16": ((0.001524, 0.000551), None),
    "Q8_0": ((0.002650, 0.001355), None), "Q6_K": ((0.021748, 0.005452), None),
    "Q5_K_M": ((0.056974, 0.010762), None), "Q5_K_S": ((0.104964, 0.016595), None),
    "Q5_1": ((0.106223, 0.018045), None), "Q5_0": ((0.131591, 0.022239), None),
    "Q4_K_M": ((0.175482, 0.031273), (0.151303, 0.028152)), "Q4_K_S": ((0.268895, 0.043136), (0.178064, 0.031951)),
    "IQ4_NL": (None, (0.223959, 0.035742)), "IQ4_XS": (None, (0.228071, 0.036334)),
    "Q4_1": ((0.451103, 0.071683), None), "Q4_0": ((0.468514, 0.071940), None),
    "Q3_K_L": ((0.556242, 0.087176), (0.439590, 0.073077)), "Q3_K_M": ((0.656864, 0.101913), (0.502622, 0.084358)),
    "IQ3_M": (None, (0.666694, 0.102534)), "IQ3_S": (None, (0.733867, 0.111278)),
    "IQ3_XS": (None, (0.931409, 0.138693)), "IQ3_XXS": (None, (1.226803, 0.183625)),
    "Q3_K_S": ((1.632152, 0.228217), (1.371244, 0.199821)), "IQ2_M": (None, (2.369166, 0.325989)),
    "Q2_K": ((3.519934, 0.445132), (2.416191, 0.332223)), "Q2_K_S": (None, (3.092145, 0.403360)),
    "IQ2_S": (None, (3.419148, 0.439197)), "IQ2_XS": (None, (4.529791, 0.546290)),
    "IQ2_XXS": (None, (7.860148, 0.812022)), "IQ1_M": (None, (19.262089, 1.393084)),
    "IQ1_S": (None, (51.866126, 2.211278))}
_LLAMA_3_TOP = {"Q2_K": 0.71138, "Q4_K_M": 0.91901, "Q6_K": 0.96031, "Q8_0": 0.97674}
_LLAMA_2: Mapping[str, tuple[float, float, float]] = {
    "Q2_K": (0.625552, 0.108903, 0.85584), "Q4_K_M": (0.082526, 0.012686, 0.94665),
    "Q6_K": (0.013941, 0.002098, 0.97520), "Q8_0": (0.003990, 0.000369, 0.98846)}
_LLAMA_2_70B = {  # perplexity; that of F16 is 3.4313
    "Q4_0": 3.5550, "Q4_1": 3.5125, "Q5_0": 3.4744, "Q2_K": 3.7339, "Q3_K_S": 3.7019, "Q3_K_M": 3.5932,
    "Q3_K_L": 3.5617, "Q4_K_S": 3.4852, "Q4_K_M": 3.4725, "Q5_K_S": 3.4483, "Q5_K_M": 3.4451, "Q6_K": 3.4367}
_NEAREST_ROUNDING = "theirs was calibrated, QUANTIZE rounds to nearest"

_OTHERS: dict[str, Quality] = {
    "fp8": Quality("fp8", "Llama-3.1, 8B to 405B", "arXiv:2411.02355", finding="effectively lossless"),
    "int8": Quality("int8", "Llama-3.1-8B-Instruct", _CARD, recovery=1.003, benchmark="OpenLLM v1",
                    unlike=_NEAREST_ROUNDING),
    "w4a16": Quality("w4a16", "Llama-3.1-8B-Instruct", _CARD, recovery=0.989, benchmark="OpenLLM v1",
                     unlike=_NEAREST_ROUNDING),
    "gptq": Quality("gptq", "Llama-3.1-8B-Instruct", _CARD, recovery=0.989, benchmark="OpenLLM v1"),
    "nvfp4": Quality("nvfp4", "Llama-3.1-8B-Instruct", "ISTA-DASLab's model card", recovery=74.0 / 78.9,
                     benchmark="MMLU, GSM8k, HellaSwag, Winogrande"),
}

_CACHE = {
    "q8_0": "+0.002 perplexity, mean KLD 0.001 (Llama-3-8B F16, llama.cpp PR 7412)",
    "q4_0": "+0.096 perplexity (Gemma-3-4B Q4_0, llama.cpp PR 21551)",
}
"""Of caches whose keys and values both have the type, against f16. PR 7412: 6.234369 and 6.232196; PR 21551: 7.9506
and 7.8551, with the rotation that llama.cpp does since before it rounds."""


def quality(precision: str, anatomy: Anatomy, *, imatrix: bool = False) -> Quality | None:
    """What is known of a precision (a word of QUANTIZE) for a model: a measurement of the model that is most like it.

    `anatomy` is the model in that precision, or as its base has it: it decides which table is nearest, and whether the
    mixture is the one that was measured. None where nobody measured, as far as we know. Where only a mixture with an
    importance matrix was measured, that is what comes back, and says so.
    """
    row = row_of(precision)
    if row is None:
        return None
    if row.form == "safetensors":
        return _OTHERS.get(row.name)
    found = _measured(row.name, anatomy, imatrix)
    return None if found is None else replace(found, unlike=_unlike(row.name, anatomy))


def cache_cost(kv_type: str) -> str | None:
    """What a type of the attention cache (`SERVE kv_cache`) costs, in a phrase with its source; None where we know no
    measurement, as of vLLM's fp8."""
    return _CACHE.get(kv_type)


def finer(one: Quality | None, other: Quality | None) -> bool | None:
    """Is the first nearer to 16 bits than the second? None where no table has both."""
    if one is None or other is None or one.table != other.table:
        return None
    for mine, theirs in ((one.divergence, other.divergence), (one.perplexity, other.perplexity)):
        if mine is not None and theirs is not None:
            return mine < theirs
    return one.recovery > other.recovery if one.recovery is not None and other.recovery is not None else None


def _measured(word: str, anatomy: Anatomy, imatrix: bool) -> Quality | None:
    if anatomy.vocabulary in range(31_000, 33_000):  # of Llama 2's time
        if len(anatomy.layers) >= 60 and word in _LLAMA_2_70B:
            return Quality(word, "Llama-2-70B", _PERPLEXITY, perplexity=round(_LLAMA_2_70B[word] - 3.4313, 4))
        if word in _LLAMA_2 and not imatrix:
            added, divergence, top = _LLAMA_2[word]
            return Quality(word, "Llama-2-7B", _PERPLEXITY, added, divergence, top)
    plain, with_matrix = _LLAMA_3.get(word, (None, None))
    chosen = (with_matrix if imatrix else plain) or plain or with_matrix
    if chosen is None:
        return None
    weighed = chosen is with_matrix
    return Quality(word, "Llama-3-8B", _PERPLEXITY, *chosen, None if weighed else _LLAMA_3_TOP.get(word),
                   imatrix=weighed)


def _unlike(word: str, anatomy: Anatomy) -> str:
    """Is the mixture another one here, because rows are not multiples of 256?"""
    if anatomy.form != "gguf" or anatomy.quantization != word:
        return ""
    elements: Counter[str] = Counter()
    for one in anatomy.weights:
        if one.role not in ("embedding", "output", "norm"):
            elements[one.type] += one.elements
    most = elements.most_common(1)[0][0] if elements else ""
    return f"here most weights would be {most}" if most and most != MOSTLY.get(word, word) else ""
