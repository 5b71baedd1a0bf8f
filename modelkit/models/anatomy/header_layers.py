"""What each layer of a GGUF model keeps of the past, as llama.cpp itself decides it.

Source of every rule here: llama.cpp as in llama-cpp-python 0.3.36, `src/models/*.cpp` (`load_arch_hparams`),
`src/llama-hparams.cpp`, and `create_memory` in `src/llama-model.cpp`.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelkit.models.anatomy.anatomy import Attention, Layer
from modelkit.models.anatomy.said import MOST_HEADS, MOST_LAYERS, MOST_TOKENS, HeaderNumbers


@dataclass(frozen=True)
class Windowed:
    """How an architecture mixes layers with a window among those without.

    Every `every`th layer has none: the first of them where `full_first`, else the last; 0: no layer is without.
    A list of the file itself counts before that. `window` stands in for what the file does not say; `fixed` is one
    that llama.cpp takes whatever the file says.
    """

    every: int = 0
    full_first: bool = False
    window: int = 0
    fixed: int = 0
    kind: Attention = "sliding"
    optional: bool = False  # no window in the file: no layer has one


WINDOWED = {
    "afmoe": Windowed(4, optional=True), "cohere2": Windowed(4), "cohere2moe": Windowed(4, full_first=True),
    "deepseek4": Windowed(0), "dots3note": Windowed(0), "exaone-moe": Windowed(4, window=128),
    "exaone4": Windowed(4, window=4096), "gemma2": Windowed(2, window=4096), "gemma3": Windowed(6, optional=True),
    "gemma3n": Windowed(5), "gemma4": Windowed(0), "gpt-oss": Windowed(2), "granite_swa": Windowed(0),
    "laguna": Windowed(4, full_first=True, optional=True), "llama4": Windowed(4, fixed=8192, kind="chunked"),
    "maple": Windowed(0), "mellum": Windowed(4, optional=True), "mimo2": Windowed(0), "muse-glimmer": Windowed(4),
    "olmo2": Windowed(4, optional=True), "plamo3": Windowed(8, optional=True),
    "smallthinker": Windowed(4, full_first=True, fixed=4096, optional=True), "spark2_5": Windowed(0),
    "step35": Windowed(0), "lfm2": Windowed(0, optional=True), "dflash": Windowed(0, optional=True),
}

NO_CACHE = {"bert", "jina-bert-v2", "jina-bert-v3", "nomic-bert", "nomic-bert-moe", "neo-bert", "eurobert",
            "wavtokenizer-dec", "modern-bert", "gemma-embedding", "dream", "llada", "llada-moe", "rnd1", "t5encoder"}
RECURRENT = {"mamba", "mamba2", "rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"}
WITHOUT_KV_HEADS = {"jamba", "granitehybrid", "plamo2", "lfm2", "lfm2moe", "kimi-linear", "kimi-k3", "bailingmoe3",
                    "glm5-next"}
BY_INTERVAL = {"qwen3next", "qwen35", "qwen35moe", "qwen4exp", "minimax-01"}
INDEXED = {"deepseek32", "glm-dsa", "dots3note", "hy_v4", "glm5-next", "minimax-m3", "qwen4exp"}


def layers_of(said: HeaderNumbers) -> tuple[Layer, ...]:
    """The layers of a model without those that only draft. Raises Failure `gguf-invalid` for numbers that can't be."""
    return _Layers(said).all()


class _Layers:
    def __init__(self, said: HeaderNumbers) -> None:
        self.said, self.architecture = said, said.header.architecture
        self.blocks = said.number("block_count", least=1, most=MOST_LAYERS)
        draft = said.number("nextn_predict_layers", most=MOST_LAYERS)
        self.count = self.blocks - draft if draft < self.blocks else self.blocks
        self.width = said.number("embedding_length", least=1)
        self.heads = said.each("attention.head_count", self.blocks, most=MOST_HEADS)
        if not any(self.heads) and self.architecture not in RECURRENT:
            said.refuse("attention.head_count", "is missing or 0, and its layers attend")
        self.kv_heads = said.each("attention.head_count_kv", self.blocks, self.heads, most=MOST_HEADS)
        usual = self.width // self.heads[0] if self.heads[0] else 0
        given = self.heads[0] > 0 or self.architecture == "plamo2"  # else llama.cpp does not look at them
        self.key = said.number("attention.key_length", usual) if given else 0
        self.value = said.number("attention.value_length", usual) if given else 0
        self.key_sliding = said.number("attention.key_length_swa", self.key)
        self.value_sliding = said.number("attention.value_length_swa", self.value)
        self.latent = said.number("attention.key_length_mla") > 0 and said.number("attention.value_length_mla") > 0
        self.recurrent = self._recurrent()
        self.rule = self._rule()
        self.window, self.windowed = self._windowed()
        self.owners = self._owners()
        self.index = self._index()

    def all(self) -> tuple[Layer, ...]:
        layers = [self.layer(number) for number in range(self.count)]
        if self.architecture == "nanbeige":  # the same layers are passed several times, each time with a cache
            layers *= self.said.number("num_loops", 1, least=1, most=MOST_LAYERS // self.count)
        if self.architecture == "graniteswitch":  # one more head chooses the adapter
            layers.append(Layer("full", 1, 1, self.key, self.value))
        return tuple(layers)

    def layer(self, number: int) -> Layer:
        if self.architecture in NO_CACHE:
            return Layer("none", self.heads[number], self.kv_heads[number])
        heads, kv_heads = self.heads[number], self.kv_heads[number]
        if self.recurrent[number] and self.architecture != "falcon-h1":
            rolling, state = self.state()
            return Layer("recurrent", state_bytes=rolling + state, conv_bytes=rolling)
        if kv_heads == 0 or self.is_mlp(number):
            return Layer("none", heads)
        windowed, own = self.windowed[number], number < self.owners
        rolling, state = self.state() if self.recurrent[number] else (0, 0)
        key, value = (self.key_sliding, self.value_sliding) if windowed else (self.key, self.value)
        kind: Attention = "mla" if self.latent and not windowed else self.rule.kind if windowed else "full"
        return Layer(kind, heads, kv_heads, own * kv_heads * key, own * kv_heads * value * (not self.latent),
                     self.window if windowed else 0, rolling + state, 0 if windowed else self.index[number], rolling)

    def is_mlp(self, number: int) -> bool:
        """Is the layer a feed-forward net alone? So it is where these models say its width."""
        return self.architecture.startswith("nemotron_h") and self.feed_forward[number] > 0

    @property
    def feed_forward(self) -> list[int]:
        return self.said.each("feed_forward_length", self.blocks)

    def state(self) -> tuple[int, int]:
        """Bytes of one sequence in a recurrent layer: what rolls by (`n_embd_r`), the state itself (`n_embd_s`).

        llama-hparams.cpp has the sums; both are float32.
        """
        number, heads = self.said.number, self.heads[0]
        kernel, size, inner = number("ssm.conv_kernel"), number("ssm.state_size"), number("ssm.inner_size")
        rolling = max(kernel - 1, 0) * (inner + 2 * number("ssm.group_count") * size)
        state = size * inner
        if head := number("wkv.head_size"):
            rolling, state = number("token_shift_count", 2) * self.width, self.width * head
        elif cells := number("shortconv.l_cache"):
            rolling = self.width * (cells - 1)
        elif head := number("kda.head_dim"):
            rolling, state = 3 * (kernel - 1 if kernel else 3) * heads * head, head * head * heads
        elif self.architecture == "minimax-01":
            state = self.key * self.key * heads
        return 4 * rolling, 4 * state

    def _recurrent(self) -> list[bool]:
        name, layers = self.architecture, range(self.blocks)
        if name in RECURRENT or name == "falcon-h1":
            return [True] * self.blocks
        if name in WITHOUT_KV_HEADS:
            return [self.kv_heads[number] == 0 for number in layers]
        if name.startswith("nemotron_h"):
            return [self.kv_heads[number] == 0 and self.feed_forward[number] == 0 for number in layers]
        if name in BY_INTERVAL:
            if self.said.has("attention.recurrent_layers"):
                return [bool(one) for one in self.said.each("attention.recurrent_layers", self.blocks)]
            usual = 8 if name == "minimax-01" else 4
            interval = self.said.number("full_attention_interval", usual, least=1, most=MOST_LAYERS)
            return [(number + 1) % interval != 0 for number in layers]
        return [False] * self.blocks

    def _rule(self) -> Windowed:
        return WINDOWED.get(self.architecture, Windowed(optional=True))

    def _windowed(self) -> tuple[int, list[bool]]:
        """The window, and which layers have it."""
        rule, key = self.rule, "attention.sliding_window"
        said = self.said.number(key, rule.window, most=MOST_TOKENS)
        nowhere = 0, [False] * self.blocks
        if self.architecture not in WINDOWED or (self.architecture == "exaone4" and self.count != 64):
            return nowhere
        if (rule.optional and not said) or (rule.fixed and self.said.has(key) and not said):
            return nowhere
        window = rule.fixed or said
        if not window:
            self.said.refuse(key, "is missing or 0, and its layers have a window")
        if self.architecture == "lfm2":
            return window, [not recurrent for recurrent in self.recurrent]
        return window, self._pattern(rule)

    def _pattern(self, rule: Windowed) -> list[bool]:
        key = "attention.sliding_window_pattern"
        if self.said.is_list(key):
            return [bool(one) for one in self.said.each(key, self.blocks)]
        every = self.said.number(key, rule.every, most=MOST_LAYERS)
        if every == 0:
            return [True] * self.blocks
        last = 0 if rule.full_first else every - 1
        return [number % every != last for number in range(self.blocks)]

    def _owners(self) -> int:
        """The number of layers, from the first, that have a cache of their own; the others read one of theirs."""
        if self.architecture == "gemma3n":
            return 20
        if self.architecture == "gemma4":
            return max(self.blocks - self.said.number("attention.shared_kv_layers", most=MOST_LAYERS), 0)
        return self.blocks

    def _index(self) -> list[int]:
        """Numbers that a token adds to the cache of sparse attention's index, by layer."""
        if self.architecture not in INDEXED:
            return [0] * self.blocks
        width = self.said.number("attention.indexer.key_length")
        width *= 3 if self.architecture == "glm5-next" and self.said.number("attention.indexer.kpool") else 1
        dense = self.said.number("leading_dense_block_count", most=MOST_LAYERS)
        if self.architecture == "minimax-m3":  # its index has values, too
            return [(width + self.value) * (number >= dense) for number in range(self.blocks)]
        full = self.said.each("attention.indexer.types", self.count, 1, most=1)
        return [width * one for one in full] + [0] * (self.blocks - self.count)
