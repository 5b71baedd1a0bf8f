"""Makes `families/`: tiny random models of each family, as the official converter writes them and as they compute.

Run by hand when a family is added, in two environments:

    PYTHONPATH=LLAMA_CPP/gguf-py:. python -m tests.unit.models.make_families models LLAMA_CPP [NAME...]
    python -m tests.unit.models.make_families ids

The first needs torch, transformers, sentencepiece and llama.cpp's source (`convert_hf_to_gguf.py`), the second
llama-cpp-python. What is in the repository comes from transformers 5.19 and the llama.cpp of llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FOLDER = HERE / "families"
POSITIONS = (0, 3, 9, 17, 23)  # of 24: inside and outside the sliding windows of 8, beyond a context of 16
TOKENS = 320
SHAPE: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "bos_token_id": 1,
    "eos_token_id": 2, "pad_token_id": 0}  # heads of 32 are the smallest that vLLM has for processors
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 16}
WIDE = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1}  # heads as wide as the model
GEMMA = {"bos_token_id": 2, "eos_token_id": 1}
WINDOW = GEMMA | {"sliding_window": 8, "head_dim": 32, "query_pre_attn_scalar": 32}


@dataclass(frozen=True)
class Tiny:
    """A model to make: transformers' configuration, the vocabulary, the type of the matrices in the GGUF."""

    config: str
    more: dict[str, Any] = field(default_factory=dict)
    pre: str = "smollm"  # empty: SentencePiece
    kind: str = "bf16"


MODELS = {
    "llama": Tiny("LlamaConfig", {
        "attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False, "head_dim": 32,
        "rope_parameters": {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0,
                            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}, "llama-bpe"),
    "llama-linear": Tiny("LlamaConfig", WIDE | {
        "tie_word_embeddings": True, "num_key_value_heads": 2,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.5}}, kind="q8_0"),
    "mistral": Tiny("MistralConfig", {"sliding_window": None, "head_dim": 32, "num_key_value_heads": 1}, "tekken"),
    "mistral3": Tiny("Ministral3Config", {"head_dim": 32, "rope_parameters": YARN | {
        "beta_fast": 16.0, "beta_slow": 2.0, "mscale": 1.0, "mscale_all_dim": 1.0,
        "llama_4_scaling_beta": 0.3}}, "tekken"),
    "mixtral": Tiny("MixtralConfig", {"num_local_experts": 3, "num_experts_per_tok": 2, "head_dim": 32,
                                      "sliding_window": None}),
    "qwen2": Tiny("Qwen2Config", WIDE | {"tie_word_embeddings": False, "rope_parameters": YARN}, "qwen2"),
    "qwen3": Tiny("Qwen3Config", {"tie_word_embeddings": True, "num_attention_heads": 6, "num_key_value_heads": 3,
                                  "head_dim": 32}, "qwen2"),
    "qwen3-q8_0": Tiny("Qwen3Config", {"tie_word_embeddings": False, "head_dim": 32}, "qwen2", "q8_0"),
    "qwen2moe": Tiny("Qwen2MoeConfig", WIDE | {
        "num_experts": 3, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "norm_topk_prob": False,
        "shared_expert_intermediate_size": 96}, "qwen2"),
    "qwen3moe": Tiny("Qwen3MoeConfig", {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 32,
        "norm_topk_prob": True}, "qwen2"),
    "gemma": Tiny("GemmaConfig", GEMMA | {"head_dim": 32, "num_key_value_heads": 1}, ""),
    "gemma2": Tiny("Gemma2Config", WINDOW | {"attn_logit_softcapping": 5.0, "final_logit_softcapping": 3.0}, ""),
    "gemma3": Tiny("Gemma3TextConfig", WINDOW | {
        "num_hidden_layers": 7, "rope_parameters": {
            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1000000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0}}}, ""),
}
VOCABULARIES = ("gemma", "llama", "mistral", "qwen2")  # one of each kind


def read(name: str) -> tuple[dict[str, Any], bytes]:
    """What is known of a model, and its GGUF."""
    said = json.loads((FOLDER / f"{name}.json").read_text())
    return said, lzma.decompress((FOLDER / f"{name}.gguf.xz").read_bytes())


def _random_model(tiny: Tiny, vocabulary: int) -> Any:
    """Weights that bfloat16 holds exactly, large enough that every part of the model shows in the logits."""
    import torch
    import transformers

    torch.manual_seed(4)
    config = getattr(transformers, tiny.config)(**SHAPE | {"vocab_size": vocabulary} | tiny.more)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for name, one in model.named_parameters():
        values = torch.randn(one.shape)
        if one.dim() > 1:
            values *= 0.6 if "embed" in name else 1.5 / one.shape[-1] ** 0.5
        elif name.endswith("norm.weight"):
            values = 0.3 * values + (0.0 if "gemma" in config.model_type else 1.0)
            values[values.abs() < 2 ** -14] = 0.0  # what one more than that rounds away
        one.data.copy_(values.to(torch.bfloat16).float())
    return model


def _bpe(folder: Path) -> int:
    """A byte-level vocabulary in Hugging Face's files."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    said = json.loads((HERE / "token_ids.json").read_text())
    tokens = {token: number for number, token in enumerate(said["tokens"][:TOKENS])}
    merges = [tuple(rule.split(" ")) for rule in said["merges"]]
    tokenizer = Tokenizer(models.BPE(vocab=tokens, merges=[
        (left, right) for left, right in merges if {left, right, left + right} <= tokens.keys()]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in said["tokens"][:3]])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "PreTrainedTokenizerFast", "bos_token": said["tokens"][1], "eos_token": said["tokens"][2]}))
    return TOKENS


def _pieces(folder: Path) -> int:
    """A SentencePiece vocabulary like Gemma's: spaces, lines and tags are tokens of their own."""
    import sentencepiece

    from tests.unit.models.hard_strings import HARD, random_texts

    shown = ["\n", "\n\n", "\n\n\n", "▁▁", "▁▁▁", "▁▁▁▁", "\t\t", "<table>", "</table>", "<h1>"]
    texts = [*HARD * 3, *random_texts(400, 1), *["the model reads the same words in the same order"] * 20]
    texts = ["".join(letter for letter in text if " " <= letter < "ā") for text in texts]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_prefix=str(folder / "tokenizer"),
        model_type="bpe", vocab_size=500, byte_fallback=True, add_dummy_prefix=False, character_coverage=0.98,
        remove_extra_whitespaces=False, normalization_rule_name="identity", pad_id=0, eos_id=1, bos_id=2, unk_id=3,
        pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", user_defined_symbols=shown, num_threads=1,
        control_symbols=["<start_of_turn>", "<end_of_turn>"], minloglevel=2, hard_vocab_limit=False)
    model = sentencepiece.SentencePieceProcessor(str(folder / "tokenizer.model"))
    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>"]
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "GemmaTokenizer", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>",
        "unk_token": "<unk>", "add_bos_token": True,
        "added_tokens_decoder": {str(model.PieceToId(piece)): {"content": piece, "special": piece in special}
                                 for piece in [*special, *shown]}}))
    return int(model.GetPieceSize())


def _convert(source: Path, folder: Path, target: Path, tiny: Tiny) -> None:
    """The official converter, told which pre-tokenizer it is: it knows that by a hash, and none this small."""
    sys.path.insert(0, str(source))
    import convert_hf_to_gguf
    from conversion.base import TextModel

    TextModel.get_vocab_base_pre = lambda self, tokenizer: tiny.pre
    sys.argv = ["convert_hf_to_gguf.py", str(folder), "--outfile", str(target), "--outtype", tiny.kind]
    convert_hf_to_gguf.main()


def make(name: str, source: Path) -> None:
    import torch
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM

    tiny = MODELS[name]
    with tempfile.TemporaryDirectory() as work:
        folder, target = Path(work) / "hf", Path(work) / "model.gguf"
        folder.mkdir()
        vocabulary = _bpe(folder) if tiny.pre else _pieces(folder)
        _random_model(tiny, vocabulary).to(torch.bfloat16).save_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        ids = torch.randint(6, vocabulary, (24,), generator=torch.Generator().manual_seed(7))
        with torch.no_grad():
            logits = model(ids[None]).logits[0, list(POSITIONS)].float().numpy()
        with safe_open(folder / "model.safetensors", "pt") as file:
            digests = {key: [list(file.get_tensor(key).shape), hashlib.sha256(
                file.get_tensor(key).to(torch.bfloat16).view(torch.int16).numpy().tobytes()).hexdigest()[:32]]
                for key in sorted(file.keys())}
        _convert(source, folder, target, tiny)
        FOLDER.mkdir(exist_ok=True)
        config = json.loads((folder / "config.json").read_text())
        (FOLDER / f"{name}.json").write_text(json.dumps({
            "config": config, "tensors": digests, "ids": ids.tolist(), "positions": POSITIONS,
            "logits": base64.b64encode(logits.astype("<f4").tobytes()).decode()}, indent=1) + "\n")
        (FOLDER / f"{name}.gguf.xz").write_bytes(lzma.compress(target.read_bytes(), preset=9))


def ids() -> None:
    """Token ids by llama.cpp itself, of texts with and without special tokens."""
    from tests.unit.models.make_token_ids import chunked, llama_ids

    said = {}
    for name in VOCABULARIES:
        with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
            file.write(read(name)[1])
            file.flush()
            found, hello = llama_ids(Path(file.name), texts_of_family(Path(file.name)))
        said[name] = {"hello": hello, "ids": chunked(found)}
    (FOLDER / "token_ids.json").write_text(json.dumps(said, indent=1) + "\n")


def texts_of_family(path: Path) -> list[str]:
    """Hard texts, and some with the special tokens of a GGUF."""
    from modelkit.models.convert.vocabulary import read_vocabulary
    from modelkit.models.formats.gguf_reader import read_header
    from tests.unit.models.make_token_ids import texts_of

    vocabulary = read_vocabulary(read_header(path))
    return texts_of(tuple(vocabulary.tokens[number] for number in vocabulary.special), 500)


def main() -> None:
    if sys.argv[1] == "ids":
        return ids()
    for name in sys.argv[3:] or MODELS:
        make(name, Path(sys.argv[2]))
        print(name, (FOLDER / f"{name}.gguf.xz").stat().st_size)


if __name__ == "__main__":
    main()
