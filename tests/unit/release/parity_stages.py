"""Stages to compare without engines: chat templates in the manner of four families, and tokenizers of real kinds.

The vocabularies are those that `make_token_ids.py` trained, in GGUF files and in `tokenizer.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from modelkit.contract.profile import Profile
from modelkit.models.convert.tokenizer import tokenizer_json
from modelkit.models.convert.vocabulary import read_vocabulary
from modelkit.models.formats.gguf_reader import read_header
from modelkit.models.weights import Weights
from modelkit.release.parity.files import Files
from tests.unit.models.gguf_files import ARCHITECTURE, gguf, pair, vocabulary_pairs
from tests.unit.models.make_token_ids import small_spm

SAID: dict[str, Any] = json.loads((Path(__file__).parents[1] / "models" / "token_ids.json").read_text())
SPECIAL = ("<|begin|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>",
           "<|eot_id|>", "<|end|>")

CHATML = """{{ bos_token }}{%- if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are Tiny.<|im_end|>\\n' }}
{%- endif %}{%- if tools %}{{ '<|im_start|>system\\n# Tools\\n' }}{%- for tool in tools %}{{ tool | tojson }}
{{- '\\n' }}{%- endfor %}{{ '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.reasoning_content is string %}{{ '<think>\\n' + message.reasoning_content + '</think>\\n' }}{%- endif %}
{{- message.content }}{%- for call in message.tool_calls or [] %}{{ '<tool_call>' + (call.function | tojson)
+ '</tool_call>' }}{%- endfor %}{{ '<|im_end|>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and not enable_thinking %}
{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}{%- endif %}"""

HEADERS = """{{ bos_token }}{%- if tools %}{{ '<|start_header_id|>tools<|end_header_id|>\\n\\n' }}
{%- for tool in tools %}{{ tool | tojson }}{%- endfor %}{{ '<|eot_id|>' }}{%- endif %}
{%- for message in messages %}{{ '<|start_header_id|>' + message.role + '<|end_header_id|>\\n\\n' }}
{{- message.content }}{%- for call in message.tool_calls or [] %}{{ call.function | tojson }}{%- endfor %}
{{- '<|eot_id|>' }}{%- endfor %}
{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""

INSTRUCTIONS = """{{ bos_token }}{%- for message in messages %}
{%- if message.role == 'user' %}{{ '[INST] ' + message.content + ' [/INST]' }}
{%- elif message.role == 'assistant' %}{{ ' ' + message.content + eos_token }}
{%- elif message.role == 'tool' %}{{ '[TOOL_RESULTS] ' + message.content + '[/TOOL_RESULTS]' }}
{%- else %}{{ '[SYSTEM] ' + message.content + '[/SYSTEM]' }}{%- endif %}{%- endfor %}"""

TURNS = """{{ bos_token }}{%- set names = {'assistant': 'model'} %}{%- for message in messages %}
{%- if message.role == 'system' and not loop.first %}{{ raise_exception('System role not supported here') }}{%- endif %}
{{- '<start_of_turn>' + names.get(message.role, message.role) + '\\n' + message.content | trim + '<end_of_turn>\\n' }}
{%- endfor %}{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{%- endif %}"""

TEMPLATES = {"chatml": CHATML, "headers": HEADERS, "instructions": INSTRUCTIONS, "turns": TURNS}


@dataclass(frozen=True)
class Stage:
    """A stage as a fault may change it; `json` edits the tokenizer's own file, `tokens` the GGUF's list."""

    template: str = CHATML
    pre: str = "smollm"  # "" is SentencePiece
    system: str | None = None
    examples: tuple[dict[str, str], ...] = ()
    variables: dict[str, Any] = field(default_factory=dict)
    json: Callable[[dict[str, Any]], None] | None = None
    tokens: Callable[[list[str]], list[str]] | None = None
    form: str = "safetensors"
    texts: dict[str, str] = field(default_factory=lambda: {"bos_token": "<|begin|>", "eos_token": "<|im_end|>"})

    def files(self, folder: Path) -> Files:
        """Written into an empty folder."""
        folder.mkdir()
        if self.form == "gguf" and self.json is None:
            path = folder / "v.gguf"
            path.write_bytes(self._gguf())
            weights = Weights(reference="x", form="gguf", path=str(path), digest="sha256:1", size=1)
        else:
            said = json.loads(_made(self._gguf()))
            if self.json is not None:
                self.json(said)
            (folder / "tokenizer.json").write_text(json.dumps(said))
            weights = Weights(reference="x", form="safetensors", path=str(folder), digest="sha256:1", size=1)
        profile = Profile("tiny", "vllm", 4096, system=self.system, messages=self.examples,
                          template_variables=self.variables)
        return Files(self.template, self.texts, profile.as_json(), weights)

    def _gguf(self) -> bytes:
        if not self.pre:
            return small_spm(SAID["pieces"], False)
        tokens = [*SPECIAL, *SAID["tokens"][5:]]
        tokens = self.tokens(tokens) if self.tokens else tokens
        types = [3 if token.startswith("<|") and token.endswith("|>") else 1 for token in tokens]
        return gguf([ARCHITECTURE, pair("llama.context_length", "uint32", 64),
                     *vocabulary_pairs(tokens, SAID["merges"], types, self.pre, bos=0, eos=3)])


@lru_cache(maxsize=16)
def _made(data: bytes) -> str:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=".gguf") as file:
        file.write(data)
        file.flush()
        return tokenizer_json(read_vocabulary(read_header(Path(file.name))))


__all__ = ["CHATML", "HEADERS", "INSTRUCTIONS", "TEMPLATES", "TURNS", "Stage", "replace"]
