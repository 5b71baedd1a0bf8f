"""Our rendering of chat templates against transformers and vLLM themselves, in the environment of the real vLLM.

Templates: those that vLLM ships, the model's own, and some of ours with what families' templates do.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from modelkit.contract.errors import ContractError
from modelkit.contract.profile import Profile
from modelkit.contract.request import chat
from modelkit.llamacpp.conversation import conversation, tools, variables
from modelkit.llamacpp.template import Template
from modelkit.runtime import environments

pytestmark = [pytest.mark.live_vllm, pytest.mark.timeout(300)]

_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}

_THEIRS = """
import json, sys
from pathlib import Path
from types import SimpleNamespace as Space
import vllm.transformers_utils.chat_templates as shipped
from transformers.utils.chat_template_utils import render_jinja_template
from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest
from vllm.renderers import chat_utils, hf
asked = json.load(sys.stdin)
folder = Path(shipped.__file__).parent
templates = {**asked["templates"], **{at.name: at.read_text() for at in sorted(folder.glob("*.jinja"))}}
parser = Space(model_config=Space(enable_prompt_embeds=False), mm_placeholder_storage=dict)
tracker = Space(create_parser=lambda **_: parser)
answers = {}
for name, text in templates.items():
    form = hf._detect_content_format(text, default="string")
    reads = hf._cached_resolve_chat_template_kwargs(text) | {"documents", "add_generation_prompt"}
    answers[name] = {"text": text, "format": form, "said": {}}
    for case, body in asked["cases"].items():
        request = ChatCompletionRequest.model_validate({"model": "m", **body})
        messages = []
        for message in request.messages:
            messages += chat_utils._parse_chat_message_content(message, tracker, form, False)
        chat_utils._postprocess_messages(messages)
        offered = None if request.tools is None else [tool.model_dump() for tool in request.tools]
        said = request.build_chat_params(None, "auto").chat_template_kwargs
        said = {key: value for key, value in said.items() if key in reads}
        try:
            (rendered,), _ = render_jinja_template([messages], offered, chat_template=text,
                                                   **{**asked["tokens"], "documents": None, **said})
            answers[name]["said"][case] = ["ok", rendered]
        except Exception as error:
            answers[name]["said"][case] = ["error", hf._template_error_reason(error)]
json.dump(answers, open(asked["out"], "w"))
"""

_OURS = {
    "qwen": "{%- if tools %}{{ '<|im_start|>system\\n# Tools\\n' }}{%- for t in tools %}{{ '\\n' }}{{ t | tojson }}"
            "{%- endfor %}{{ '<|im_end|>\\n' }}{%- endif %}{%- for message in messages %}"
            "{%- set content = message.content %}"
            "{{ '<|im_start|>' + message.role + '\\n' }}{%- if message.reasoning_content is string %}"
            "<think>{{ message.reasoning_content.strip('\\n') }}</think>{%- endif %}{{ content }}"
            "{%- for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>"
            "{%- endfor %}{{ '<|im_end|>\\n' }}{%- endfor %}{%- if add_generation_prompt %}"
            "{{ '<|im_start|>assistant\\n' }}{%- if enable_thinking is defined and enable_thinking is false %}"
            "<think>\\n\\n</think>{%- endif %}"
            "{%- endif %}",
    "parts": "{{ bos_token }}{% for message in messages %}\n  {% generation %}{{ message['role'] }}"
             "{% endgeneration %}:\n"
             "{% if message.content is string %}{{ message.content | trim }}{% else %}{% for part in message.content %}"
             "{% if part.type == 'text' %}<{{ part['text'] }}>{% endif %}{% endfor %}{% endif %}"
             "{{ eos_token }}\n{% endfor %}",
    "strict": "{% for message in messages %}{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}"
              "{{ raise_exception('Roles must alternate, not ' ~ message.role) }}{% endif %}{{ message | tojson }}"
              "{% endfor %}",
    "all": "{{ messages | tojson(indent=1) }}{{ tools | tojson }}{{ documents | tojson }}{{ reasoning_effort }}"
           "{{ enable_thinking }}{{ nobody }}{{ unk_token }}{{ pad_token }}",
}

_HI = {"role": "user", "content": "Hi <b>\"you\"</b> é 日本\n"}
_CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"type": "function", "id": "call12345",
     "function": {"name": "get_weather", "arguments": '{"city": "Paris", "days": 2}'}}]}
_RESULT = {"role": "tool", "content": '{"temp": 21}', "tool_call_id": "call12345"}
_OFFERED = [
    {"type": "function", "function": {"name": "get_weather", "description": "Weather & more", "strict": True,
                                      "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}, "days": {"enum": [1, 2], "default": None}}}}},
    {"type": "function", "function": {"name": "now"}}]
_CASES: dict[str, dict[str, Any]] = {
    "plain": {"messages": [_HI]},
    "turns": {"messages": [{"role": "system", "content": "Be brief."}, _HI, {"role": "assistant", "content": "Yes\n"},
                           _HI]},
    "tools": {"messages": [_HI], "tools": _OFFERED},
    "calls": {"messages": [_HI, _CALL, _RESULT, _HI], "tools": _OFFERED},
    "none": {"messages": [_HI], "tools": _OFFERED, "tool_choice": "none"},
    "reasoned": {"messages": [_HI, {"role": "assistant", "content": "4", "reasoning": "2 + 2\n"}, _HI]},
    "named": {"messages": [{"role": "user", "content": "x", "name": "bob"}]},
    "empty": {"messages": [{"role": "user", "content": ""}]},
    "twice": {"messages": [_HI, _HI]},
    "late": {"messages": [_HI, {"role": "system", "content": "late"}]},
    "quiet": {"messages": [_HI], "chat_template_kwargs": {"enable_thinking": False, "unread": 1}},
    "effort": {"messages": [_HI], "reasoning_effort": "low"},
    "documents": {"messages": [_HI], "chat_template_kwargs": {"documents": [{"title": "t", "text": "d"}]}},
}


def _ours(template: Template, body: dict[str, Any]) -> list[str]:
    request = chat({"model": "m", **body}, Profile("m", "llamacpp", 4096, tool_parser="hermes"))
    messages, _ = conversation(request["messages"], template.content_format)
    try:
        return ["ok", template.render(messages, tools=tools(request.get("tools")), variables=variables(request))]
    except ContractError as error:
        return ["error", error.message]


def test_prompts_are_the_ones_that_vllm_makes(tmp_path: Path) -> None:
    vllm = environments.find("vllm", ">=0.32,<0.33")
    assert vllm is not None, "vLLM 0.32 is not here: modelkit engine install vllm"
    asked = {"templates": _OURS, "cases": _CASES, "tokens": _TOKENS, "out": str(tmp_path / "answers.json")}
    python = str(Path(vllm.path) / "bin" / "python")
    subprocess.run([python, "-c", _THEIRS], input=json.dumps(asked).encode(), check=True, capture_output=True)
    answers = json.loads((tmp_path / "answers.json").read_bytes())
    assert len(answers) > len(_OURS) + 3
    for name, theirs in answers.items():
        template = Template(theirs["text"], _TOKENS)
        assert template.content_format == theirs["format"], name
        for case, said in theirs["said"].items():
            assert _ours(template, _CASES[case]) == said, (name, case)
