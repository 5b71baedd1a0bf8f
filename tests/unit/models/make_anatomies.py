"""Makes `anatomies.json.xz`: what models of each family say of themselves in both forms, and what llama.cpp allots.

Run by hand when a family is added, in two environments, with a folder for what the first leaves to the second:

    PYTHONPATH=LLAMA_CPP/gguf-py:. python -m tests.unit.models.make_anatomies models LLAMA_CPP FOLDER [NAME...]
    python -m tests.unit.models.make_anatomies cells FOLDER

The first needs torch, transformers and llama.cpp's source (`convert_hf_to_gguf.py`), the second llama-cpp-python. What
is in the repository comes from transformers 5.19 and the llama.cpp of llama-cpp-python 0.3.36.
"""

from __future__ import annotations

import json
import lzma
import re
import sys
import traceback
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "anatomies.json.xz"
CELLS, SEQUENCES = 32768, 64  # large, so that the two decimals of a log tell widths apart

SHAPE: dict[str, Any] = {
    "vocab_size": 320, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 8, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 65536, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 32, "num_experts": 4, "num_local_experts": 4}
LATENT = {"kv_lora_rank": 32, "q_lora_rank": 32, "qk_rope_head_dim": 16, "qk_nope_head_dim": 32, "v_head_dim": 32,
          "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "n_shared_experts": 1,
          "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "num_key_value_heads": 4, "norm_topk_prob": True}
MAMBA = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_d_state": 16, "mamba_n_groups": 1, "mamba_d_conv": 4,
         "mamba_expand": 2}
LINEAR = {"linear_key_head_dim": 16, "linear_value_head_dim": 16, "linear_num_key_heads": 2,
          "linear_num_value_heads": 4, "head_dim": 32}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {"tie_word_embeddings": False}), "llama-tied": ("LlamaConfig", {
        "tie_word_embeddings": True, "num_key_value_heads": 1}),
    "mistral": ("MistralConfig", {"sliding_window": None, "head_dim": 32}),
    "mixtral": ("MixtralConfig", EXPERTS | {"sliding_window": None}),
    "qwen2moe": ("Qwen2MoeConfig", EXPERTS | {"shared_expert_intermediate_size": 96}),
    "qwen3": ("Qwen3Config", {"head_dim": 32}), "qwen3moe": ("Qwen3MoeConfig", EXPERTS | {"head_dim": 32}),
    "qwen3next": ("Qwen3NextConfig", EXPERTS | LINEAR | {"shared_expert_intermediate_size": 32}),
    "qwen35": ("Qwen3_5TextConfig", LINEAR), "qwen35moe": ("Qwen3_5MoeTextConfig", EXPERTS | LINEAR | {
        "shared_expert_intermediate_size": 32}),
    "gemma2": ("Gemma2Config", {"head_dim": 32, "sliding_window": 64}),
    "gemma3": ("Gemma3TextConfig", {"head_dim": 32, "sliding_window": 64}),
    "gemma3n": ("Gemma3nTextConfig", {"head_dim": 32, "sliding_window": 64, "num_hidden_layers": 30,
                                      "num_kv_shared_layers": 0, "vocab_size_per_layer_input": 320,
                                      "hidden_size_per_layer_input": 256, "intermediate_size": [128] * 30,
                                      "laurel_rank": 64, "activation_sparsity_pattern": [0.0] * 30}),
    "gemma4": ("Gemma4TextConfig", {"head_dim": 32, "global_head_dim": 64, "sliding_window": 64,
                                    "num_kv_shared_layers": 6, "num_hidden_layers": 18,
                                    "hidden_size_per_layer_input": 32, "vocab_size_per_layer_input": 320}),
    "gpt-oss": ("GptOssConfig", EXPERTS | {"head_dim": 32, "sliding_window": 64, "intermediate_size": 64}),
    "cohere2": ("Cohere2Config", {"sliding_window": 64}), "phi3": ("Phi3Config", {"sliding_window": None}),
    "olmo3": ("Olmo3Config", {"sliding_window": 64}), "smollm3": ("SmolLM3Config", {}),
    "exaone4": ("Exaone4Config", {"sliding_window": 64, "sliding_window_pattern": 4, "num_hidden_layers": 64}),
    "llama4": ("Llama4TextConfig", {"head_dim": 32, "num_local_experts": 4, "num_experts_per_tok": 1,
                                    "intermediate_size_mlp": 128, "interleave_moe_layer_step": 2,
                                    "intermediate_size": 64}),
    "deepseek2": ("DeepseekV2Config", LATENT), "deepseek3": ("DeepseekV3Config", LATENT),
    "glm4moe": ("Glm4MoeConfig", LATENT | {"head_dim": 32, "num_key_value_heads": 2}),
    "jamba": ("JambaConfig", EXPERTS | {"mamba_d_state": 16, "mamba_dt_rank": 8, "attn_layer_period": 4,
                                        "attn_layer_offset": 2}),
    "bamba": ("BambaConfig", MAMBA | {"attn_layer_indices": [2, 5]}),
    "granitehybrid": ("GraniteMoeHybridConfig", MAMBA | EXPERTS | {
        "layer_types": ["mamba", "mamba", "attention", "mamba"] * 2, "shared_intermediate_size": 64}),
    "falcon-h1": ("FalconH1Config", MAMBA | {"mamba_d_ssm": 128}),
    "lfm2": ("Lfm2Config", {"conv_L_cache": 3, "layer_types": ["conv", "conv", "full_attention", "conv"] * 2}),
    "lfm2moe": ("Lfm2MoeConfig", EXPERTS | {"layer_types": ["conv", "conv", "full_attention", "conv"] * 2,
                                            "num_dense_layers": 2}),
    "mamba": ("MambaConfig", {"state_size": 16}),
    "mamba2": ("Mamba2Config", {"state_size": 16, "num_heads": 8, "head_dim": 16, "n_groups": 1}),
    "starcoder2": ("Starcoder2Config", {"sliding_window": None}),
    "bert": ("BertConfig", {}), "modern-bert": ("ModernBertConfig", {}), "gpt2": ("GPT2Config", {
        "n_embd": 64, "n_layer": 8, "n_head": 4, "num_key_value_heads": 4, "n_positions": 4096}),
    "olmoe": ("OlmoeConfig", EXPERTS | {"num_key_value_heads": 4}), "granitemoe": ("GraniteMoeConfig", EXPERTS),
    "apertus": ("ApertusConfig", {}),
}

ADDED: dict[str, dict[str, Any]] = {  # what the converter wants in config.json and transformers 5 does not write
    "cohere2": {"rotary_pct": 1.0}, "falcon-h1": {"head_dim": 16}, "gpt2": {"n_ctx": 65536},
    "gemma3n": {"num_kv_shared_layers": 10},  # published files have keys and values for these, too
    "granitehybrid": {"layer_types": ["mamba", "mamba", "attention", "mamba"] * 2},
    "bert": {"architectures": ["BertModel"], "num_key_value_heads": 4},
    "modern-bert": {"layer_norm_eps": 1e-5, "architectures": ["ModernBertModel"]}}


def make(name: str, source: Path, folder: Path) -> dict[str, Any]:
    """Both forms of one tiny model: config.json, the tensors of the folder, and a GGUF beside it."""
    import torch
    import transformers

    kind, more = MODELS[name]
    torch.manual_seed(1)
    config = getattr(transformers, kind)(**SHAPE | more)
    made = transformers.AutoModel if "Bert" in kind else transformers.AutoModelForCausalLM
    place = folder / name
    made.from_config(config, dtype=torch.bfloat16).save_pretrained(place)
    said = json.loads((place / "config.json").read_text()) | ADDED.get(name, {})
    (place / "config.json").write_text(json.dumps(said))
    (place / "tokenizer.json").write_text(json.dumps({"model": {"vocab": dict.fromkeys(map(str, range(320)))},
                                                      "added_tokens": []}))
    from safetensors import safe_open

    with safe_open(place / "model.safetensors", "pt") as file:
        slices = {key: file.get_slice(key) for key in file.keys()}  # noqa: SIM118 - it is no dictionary
    tensors = {key: [one.get_dtype(), one.get_shape()] for key, one in slices.items()}
    _convert(source, place, folder / f"{name}.gguf")
    return {"config": said, "tensors": tensors}


def _convert(source: Path, folder: Path, target: Path) -> None:
    """The official converter, without a vocabulary."""
    if str(source) not in sys.path:
        sys.path.insert(0, str(source))
    import convert_hf_to_gguf
    from conversion import get_model_class

    config = json.loads((folder / "config.json").read_text())
    model = get_model_class(config["architectures"][0])
    model.set_vocab = lambda self: (self.gguf_writer.add_tokenizer_model("no_vocab"),
                                    self.gguf_writer.add_vocab_size(config.get("vocab_size", 320)),
                                    "Bert" in model.__name__ and self.gguf_writer.add_token_type_count(2))
    sys.argv = ["convert_hf_to_gguf.py", str(folder), "--outfile", str(target), "--outtype", "bf16",
                *(["--no-mtp"] if config["model_type"].startswith(("qwen3_5", "qwen3_next")) else [])]
    convert_hf_to_gguf.main()


def cells(path: Path) -> dict[str, Any]:
    """The header of a GGUF, and the caches that llama.cpp makes for it: cells, layers, MiB of keys and of values."""
    import ctypes

    import llama_cpp
    from gguf import GGUFReader, GGUFValueType

    lines: list[str] = []
    log = llama_cpp.llama_log_callback(lambda level, text, data: lines.append(text.decode(errors="replace")))
    llama_cpp.llama_log_set(log, ctypes.c_void_p(0))
    reader = GGUFReader(path)
    metadata = {}
    for key, field in reader.fields.items():
        if key.startswith(("GGUF.", "tokenizer.")) or key in ("general.name", "general.size_label"):
            continue
        kinds = [GGUFValueType(one).name.lower() for one in field.types]
        metadata[key] = [kinds[0] if len(kinds) == 1 else f"[{kinds[-1]}]", field.contents()]
    tensors = [[one.name, one.tensor_type.name, [int(size) for size in one.shape]] for one in reader.tensors]
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), llama_cpp.llama_model_default_params())
    if not model:
        raise RuntimeError("".join(lines)[-600:])
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx, settings.n_seq_max, settings.kv_unified, settings.n_ubatch = CELLS, SEQUENCES, True, 512
    settings.swa_full = False
    context = llama_cpp.llama_init_from_model(model, settings)
    if not context:
        raise RuntimeError("".join(lines)[-600:])
    found: dict[str, list[list[float]]] = {"kv": [], "state": []}
    for line in "".join(lines).splitlines():
        if seen := re.search(r"size = +[\d.]+ MiB \( *(\d+) cells, +(\d+) layers.* K \(\w+\): +([\d.]+) MiB, "
                             r"V \(\w+\): +([\d.]+) MiB", line):
            found["kv"].append([int(seen[1]), int(seen[2]), float(seen[3]), float(seen[4])])
        if seen := re.search(r"size = .* R \(f32\): +([\d.]+) MiB, S \(f32\): +([\d.]+) MiB", line):
            found["state"].append([float(seen[1]), float(seen[2])])
    return {"metadata": metadata, "gguf": tensors, **found}


def main() -> None:
    folder = Path(sys.argv[3] if sys.argv[1] == "models" else sys.argv[2])
    if sys.argv[1] == "models":
        for name in sys.argv[4:] or MODELS:
            try:
                (folder / f"{name}.json").write_text(json.dumps(make(name, Path(sys.argv[2]), folder)))
                print(name, "made")
            except Exception:
                print(name, "FAILED", traceback.format_exc(limit=-2)[-700:])
        return
    said = {}
    for name in MODELS:
        if (folder / f"{name}.gguf").is_file() and (folder / f"{name}.json").is_file():
            try:
                said[name] = json.loads((folder / f"{name}.json").read_text()) | cells(folder / f"{name}.gguf")
                print(name, said[name]["kv"], said[name]["state"])
            except RuntimeError as error:
                print(name, "FAILED", error)
    FILE.write_bytes(lzma.compress(json.dumps(said, separators=(",", ":")).encode(), preset=9))
    print(len(said), FILE.stat().st_size)


if __name__ == "__main__":
    main()
