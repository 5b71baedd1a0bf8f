"""How long it takes to know what a model of 70 billion parameters is made of while it is far away.

    python benchmarks/far.py [ROUNDS]

A Hub on loopback that answers each request after 20 ms has the model twice: as a GGUF in four parts, whose first has
128,256 words and 280,147 merges, and as 30 files of safetensors. Each round is a process of its own with an empty
store: `resolve` asks which files there are, `promised` reads what every plan reads (facts, and the vocabulary with it),
`anatomy` every tensor and every layer; and then the whole command `modelkit fit` for GPUs, from its start to its end,
with an empty store too. Tensors are not there: the server gives zeros for them, if anybody asked.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LATENCY_S = 0.02
LAYERS, WIDTH, HIDDEN, HEADS, KV_HEADS, WORDS, MERGES = 80, 8192, 28672, 64, 8, 128_256, 280_147
PARTS, SHARDS = 4, 30


class Sparse:
    """Bytes of which only the beginning is there."""

    def __init__(self, begin: bytes, size: int) -> None:
        self.begin, self.size = begin, size
        self.digest = hashlib.sha256(begin).hexdigest()

    def part(self, start: int, end: int) -> bytes:
        part = self.begin[start:end]
        return part + bytes(end - start - len(part))


def layer_shapes() -> dict[str, tuple[int, ...]]:
    """Of one layer, rows first, by Hugging Face's names."""
    narrow = KV_HEADS * (WIDTH // HEADS)
    return {"self_attn.q_proj": (WIDTH, WIDTH), "self_attn.k_proj": (narrow, WIDTH),
            "self_attn.v_proj": (narrow, WIDTH), "self_attn.o_proj": (WIDTH, WIDTH),
            "mlp.gate_proj": (HIDDEN, WIDTH), "mlp.up_proj": (HIDDEN, WIDTH), "mlp.down_proj": (WIDTH, HIDDEN),
            "input_layernorm": (WIDTH,), "post_attention_layernorm": (WIDTH,)}


NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
         "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, value: Any) -> bytes:
    if isinstance(value, str):
        return text(key) + struct.pack("<I", 8) + text(value)
    if isinstance(value, float):
        return text(key) + struct.pack("<If", 6, value)
    if isinstance(value, list):
        return text(key) + (struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
                            if isinstance(value[0], str) else
                            struct.pack(f"<IIQ{len(value)}i", 9, 5, len(value), *value))
    return text(key) + struct.pack("<II", 4, value)


def ggufs() -> dict[str, Sparse]:
    """The model in parts, its matrices in Q4_K."""
    shapes = {"token_embd.weight": (WORDS, WIDTH), "output_norm.weight": (WIDTH,), "output.weight": (WORDS, WIDTH)}
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{NAMES[name]}.weight": shape for name, shape in layer_shapes().items()}
    said = {"general.architecture": "llama", "general.file_type": 15, "llama.block_count": LAYERS,
            "llama.embedding_length": WIDTH, "llama.feed_forward_length": HIDDEN, "llama.context_length": 131072,
            "llama.attention.head_count": HEADS, "llama.attention.head_count_kv": KV_HEADS,
            "llama.rope.dimension_count": 128, "llama.attention.layer_norm_rms_epsilon": 1e-5,
            "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "llama-bpe",
            "tokenizer.ggml.tokens": [f"Ġword{number}" for number in range(WORDS)],
            "tokenizer.ggml.token_type": [1] * WORDS,
            "tokenizer.ggml.merges": [f"Ġw ord{number}" for number in range(MERGES)],
            "tokenizer.ggml.bos_token_id": 128000, "tokenizer.ggml.eos_token_id": 128001,
            "tokenizer.chat_template": "{% for message in messages %}{{ message.content }}{% endfor %}"}
    names = list(shapes)
    made = {}
    for number in range(PARTS):
        mine = names[number::PARTS]
        keys = (said if number == 0 else {}) | {
            "split.no": number, "split.count": PARTS, "split.tensors.count": len(names)}
        table, place = b"", 0
        for name in mine:
            shape = shapes[name]
            kind, size = (0, 4 * math.prod(shape)) if len(shape) == 1 else (12, math.prod(shape) // 256 * 144)
            table += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *reversed(shape), kind, place)
            place += -(-size // 32) * 32
        begin = b"GGUF" + struct.pack("<IQQ", 3, len(mine), len(keys)) + b"".join(
            pair(key, value) for key, value in keys.items()) + table
        made[f"big-Q4_K_M-{number + 1:05d}-of-{PARTS:05d}.gguf"] = Sparse(begin, -(-len(begin) // 32) * 32 + place)
    return made


def folder() -> dict[str, Sparse]:
    """The model as Hugging Face has it, in bfloat16."""
    shapes = {"model.embed_tokens.weight": (WORDS, WIDTH), "model.norm.weight": (WIDTH,),
              "lm_head.weight": (WORDS, WIDTH)}
    for layer in range(LAYERS):
        shapes |= {f"model.layers.{layer}.{name}.weight": shape for name, shape in layer_shapes().items()}
    names, files, places = list(shapes), dict[str, Sparse](), dict[str, str]()
    for number in range(SHARDS):
        shard, said, place = f"model-{number + 1:05d}-of-{SHARDS:05d}.safetensors", dict[str, Any](), 0
        for name in names[number::SHARDS]:
            size = 2 * math.prod(shapes[name])
            said[name] = {"dtype": "BF16", "shape": shapes[name], "data_offsets": [place, place + size]}
            place, places[name] = place + size, shard
        head = json.dumps(said).encode()
        files[shard] = Sparse(len(head).to_bytes(8, "little") + head, 8 + len(head) + place)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": LAYERS,
              "hidden_size": WIDTH, "intermediate_size": HIDDEN, "num_attention_heads": HEADS,
              "num_key_value_heads": KV_HEADS, "vocab_size": WORDS, "max_position_embeddings": 131072,
              "torch_dtype": "bfloat16", "tie_word_embeddings": False}
    tokenizer = {"version": "1.0", "model": {"type": "BPE", "vocab": {f"Ġword{one}": one for one in range(WORDS)},
                                            "merges": [f"Ġw ord{one}" for one in range(MERGES)]}}
    for name, value in (("config.json", config), ("tokenizer.json", tokenizer), ("tokenizer_config.json", {}),
                        ("model.safetensors.index.json", {"metadata": {}, "weight_map": places})):
        body = json.dumps(value).encode()
        files[name] = Sparse(body, len(body))
    return files


class Hub:
    """A Hugging Face Hub that has `repositories`, and counts what it is asked and gives."""

    def __init__(self, repositories: dict[str, dict[str, Sparse]]) -> None:
        self.repositories, self.requests, self.sent = repositories, 0, 0
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"hub": self}))
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"
    commit = "a" * 40

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        time.sleep(LATENCY_S)
        self.hub.requests += 1
        path = self.path.partition("?")[0]
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/.+)?", path):
            listing = [{"rfilename": name, "size": file.size, "blobId": hashlib.sha1(
                b"blob %d\0" % file.size + file.begin).hexdigest()} | ({} if file.size == len(file.begin) else {
                    "lfs": {"sha256": file.digest, "size": file.size, "pointerSize": 130}})
                for name, file in self.hub.repositories[found[1]].items()]
            return self.say(200, json.dumps({"_id": "1", "id": found[1], "sha": self.commit,
                                             "siblings": listing}).encode(), {"Content-Type": "application/json"})
        repository, _, name = path.lstrip("/").partition(f"/resolve/{self.commit}/")
        file = self.hub.repositories[repository].get(name)
        if file is None:
            return self.say(404, b"{}", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": self.commit})
        headers = {"X-Repo-Commit": self.commit, "ETag": f'"{file.digest}"', "Accept-Ranges": "bytes"}
        if self.command == "HEAD":
            return self.say(200, b"", headers, file.size)
        start, end = 0, file.size
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(asked[1]), min(int(asked[2] or file.size - 1) + 1, file.size)
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
        self.say(206 if asked else 200, file.part(start, end), headers)

    do_HEAD = do_GET

    def say(self, status: int, body: bytes, headers: dict[str, str], length: int | None = None) -> None:
        self.send_response(status)
        for key, value in (headers | {"Content-Length": str(len(body) if length is None else length)}).items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)
        self.hub.sent += len(body)


def one_round(word: str) -> None:
    """In a process of its own: what is known after which time."""
    from pathlib import Path

    from modelkit.models.anatomy.far import anatomy_far
    from modelkit.models.promised import promised
    from modelkit.models.reference import Reference
    from modelkit.models.sources import source
    from modelkit.models.store import Store, quiet

    store, reference = Store(Path(os.environ["FAR_STORE"])), Reference.parse(word, Path.cwd())
    begin = time.perf_counter()
    source(reference).resolve(reference, store, quiet)
    resolved = time.perf_counter()
    artifact, facts = promised(reference, store)
    known = time.perf_counter()
    anatomy = anatomy_far(artifact, reference, store)
    end, used = time.perf_counter(), time.process_time()
    assert facts is not None and anatomy is not None and len(anatomy.layers) == LAYERS, anatomy
    assert anatomy.parameters == facts.parameters and anatomy.parameters > 70e9
    print(json.dumps([resolved - begin, known - resolved, end - known, used]))


def whole(word: str, more: list[str], environment: dict[str, str]) -> float:
    """Seconds that `modelkit fit` takes."""
    begin = time.perf_counter()
    said = subprocess.run([sys.executable, "-m", "modelkit", "fit", word, *more], env=environment, text=True,
                          capture_output=True, check=False)
    assert "131,072 tokens" in said.stdout or said.returncode == 0, said.stderr
    return time.perf_counter() - begin


def main() -> None:
    if len(sys.argv) > 2 and sys.argv[1] == "--one":
        return one_round(sys.argv[2])
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    hub = Hub({"maker/big-GGUF": ggufs(), "maker/big": folder()})
    for word, more in (("hf://maker/big-GGUF:Q4_K_M", ["--hardware", "2xh100"]),
                       ("hf://maker/big", ["-s", "prod", "--hardware", "4xh100"])):
        found, wholes = [], []
        hub.requests = hub.sent = 0
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as home:
                environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HOME": home, "FAR_STORE": home + "/store"}
                said = subprocess.run([sys.executable, __file__, "--one", word], env=environment, check=True,
                                      stdout=subprocess.PIPE)
            found.append(json.loads(said.stdout))
        requests, sent = hub.requests, hub.sent
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as home:
                wholes.append(whole(word, more, os.environ | {
                    "HF_ENDPOINT": hub.url, "HF_HOME": home, "MODELKIT_HOME": home + "/modelkit"}))
        parts = [statistics.median(one) for one in zip(*found, strict=True)]
        print(f"{word:28} resolve {parts[0]:.2f} s, promised (resolves again) {parts[1]:.2f} s, anatomy "
              f"{parts[2]:.2f} s, processor {parts[3]:.2f} s; {requests // rounds} requests, "
              f"{sent / rounds / 2**20:.1f} MiB; the whole of `modelkit fit {' '.join(more)}` "
              f"{statistics.median(wholes):.2f} s, best {min(wholes):.2f}")


if __name__ == "__main__":
    main()
