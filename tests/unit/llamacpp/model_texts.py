"""What models write when they call tools, by vLLM's parser names, and what there is to read in it.

`READ` has (text, content, calls): calls are (name, arguments) with the arguments as JSON text. Families' own words, as
their chat templates show them.
"""

from __future__ import annotations

TOOLS = {
    "get_weather": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"},
                                                     "exact": {"type": "boolean"}, "near": {"type": "array"},
                                                     "at": {"anyOf": [{"type": "number"}, {"type": "null"}]}}},
    "now": {},
}

PARIS = ("get_weather", '{"city": "Paris"}')
NOW = ("now", "{}")
TRICKY = ("get_weather", '{"city": "a \\"}]{\\\\", "near": [{"x": 1}]}')
_TRICKY = TRICKY[1]

_HERMES = [
    ("Hello there.", "Hello there.", []),
    ('<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>', "", [PARIS]),
    ('Let me see.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>\n'
     '<tool_call>\n{"arguments": {}, "name": "now"}\n</tool_call> Done.', "Let me see.\n", [PARIS, NOW]),
    (f'<tool_call>{{"name":"get_weather","arguments":{_TRICKY}}}</tool_call>', "", [TRICKY]),
    ('<tool_call>{"name": "now"}</tool_call>', "", [NOW]),
    ("<tool_call>not a call</tool_call> at all", "<tool_call>not a call</tool_call> at all", []),
    ('<tool_call>{"nam": "now"}</tool_call>', '<tool_call>{"nam": "now"}</tool_call>', []),
    ("less < than <tool_", "less < than <tool_", []),
    ('<tool_call>{"name": "get_wea', '<tool_call>{"name": "get_wea', []),
    ('<tool_call>{"name": "get_weather", "arguments": {"city": "Par', "", [("get_weather", '{"city": "Par')]),
    ('<tool_call>{"name": "now", "arguments": {}}<tool_call>{"name": "now", "arguments": {}}', "", [NOW, NOW]),
]

_LIST = '[{"name": "get_weather", "arguments": {"city": "Paris"}}, {"name": "now", "arguments": {}}]'

_QWEN3_CODER = [
    ("I'll look.\n\n<tool_call>\n<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n<parameter=days>\n3\n"
     "</parameter>\n<parameter=exact>\ntrue\n</parameter>\n<parameter=near>\n[1, \"b\"]\n</parameter>\n"
     "<parameter=at>\nnull\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n"
     "</tool_call>",
     "I'll look.",
     [("get_weather", '{"city": "Paris", "days": 3, "exact": true, "near": [1, "b"], "at": null}'), NOW]),
    ('<tool_call>\n<function=get_weather>\n<parameter=city>\nline "1"\n\n  line </b>\n\n</parameter>\n</function>\n'
     "</tool_call>", "", [("get_weather", '{"city": "line \\"1\\"\\n\\n  line </b>\\n"}')]),
    ("<function=get_weather>\n<parameter=city>\nParis\n</parameter>\n</function>", "", [PARIS]),
    ("<tool_call>\n<function=get_weather>\n<parameter=city>\nPar", "", [("get_weather", '{"city": "Par')]),
    ("<tool_call>\n<function=get_weather>\n<parameter=days>\nmany\n</parameter>\n<parameter=other>\n7\n</parameter>\n"
     "</function>\n</tool_call>", "", [("get_weather", '{"days": "many", "other": "7"}')]),
    ("just text ", "just text ", []),
]

_DEEPSEEK = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>"
_DEEPSEEK_END = "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"

READ: dict[str, list[tuple[str, str, list[tuple[str, str]]]]] = {
    "hermes": _HERMES,
    "qwen3_json": _HERMES[:3],
    "longcat": [('<longcat_tool_call>{"name": "now", "arguments": {}}</longcat_tool_call>', "", [NOW])],
    "granite4": [
        ('Sure.<tool_call>{"name": "get_weather", "arguments": {"city": "Paris"}}</tool_call> And so.', "Sure. And so.",
         [PARIS]),
        ('<tool_call>{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}</tool_call>', "", [PARIS])],
    "granite": [(f"<|tool_call|>{_LIST}", "", [PARIS, NOW]), (f"Ok <tool_call> {_LIST} bye", "Ok bye", [PARIS, NOW]),
                ("<|tool_call|> none", "<|tool_call|> none", [])],
    "ernie45": [('Hm\n\n<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>\n', "Hm", [NOW])],
    "jamba": [(f"Ok<tool_calls>{_LIST}</tool_calls>", "Ok", [PARIS, NOW])],
    "hunyuan_a13b": [(f"<tool_calls>{_LIST}</tool_calls>", "", [PARIS, NOW])],
    "internlm": [('See:<|action_start|><|plugin|>\n{"name": "get_weather", "parameters": {"city": "Paris"}}'
                  "<|action_end|>\n", "See:", [PARIS])],
    "phi4_mini_json": [(f"functools{_LIST}", "", [PARIS, NOW]), ("functools is a module", "functools is a module", [])],
    "llama3_json": [
        ('{"name": "get_weather", "parameters": {"city": "Paris"}}', "", [PARIS]),
        ('<|python_tag|>{"name": "get_weather", "parameters": {"city": "Paris"}}; {"name": "now", '
         '"parameters": {}}', "",
         [PARIS, NOW]),
        ('{"type": "function", "name": "now", "parameters": {}}', "", [NOW]),
        ('{"answer": 42} is JSON', '{"answer": 42} is JSON', []),
        ("The set {1, 2}", "The set {1, 2}", []),
        ('{"name": "get_weather", "parameters": {"ci', "", [("get_weather", '{"ci')])],
    "mistral": [
        (f"[TOOL_CALLS]{_LIST}", "", [PARIS, NOW]), (f"[TOOL_CALLS] {_LIST}", "", [PARIS, NOW]),
        ('Ok[TOOL_CALLS]get_weather{"city": "Paris"}[TOOL_CALLS]now{}', "Ok", [PARIS, NOW]),
        ('[TOOL_CALLS]get_weather[ARGS]{"city": "Paris"} trailing', "", [PARIS]),
        ('[TOOL_CALLS]get_weather[CALL_ID]abcDEF123[ARGS]{"city": "Paris"}', "", [PARIS]),
        ('[TOOL_CALLS]get_weather{"city": "Pa', "", [("get_weather", '{"city": "Pa')]),
        ("[TOOL_C", "[TOOL_C", []), ("[TOOL_CALLS]get_wea", "", [])],
    "deepseek_v3": [
        (f'Ok.{_DEEPSEEK}function<｜tool▁sep｜>get_weather\n```json\n{{"city": "Paris"}}\n```<｜tool▁call▁end｜>\n'
         f"<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n```json\n{{}}\n```{_DEEPSEEK_END}", "Ok.", [PARIS, NOW]),
        (f"{_DEEPSEEK}function<｜tool▁sep｜>now", "", [])],
    "deepseek_v31": [
        (f'{_DEEPSEEK}get_weather<｜tool▁sep｜>{{"city": "Paris"}}<｜tool▁call▁end｜><｜tool▁call▁begin｜>now'
         f"<｜tool▁sep｜>{{}}{_DEEPSEEK_END}", "", [PARIS, NOW]),
        (f'{_DEEPSEEK}get_weather<｜tool▁sep｜>{{"city": "P', "", [("get_weather", '{"city": "P')])],
    "kimi_k2": [
        ('Ok <|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>'
         '{"city": "Paris"}<|tool_call_end|><|tool_call_begin|>functions.now:1<|tool_call_argument_begin|> {} '
         "<|tool_call_end|><|tool_calls_section_end|> bye", "Ok ", [PARIS, NOW])],
    "qwen3_coder": _QWEN3_CODER,
    "qwen3_xml": _QWEN3_CODER[:1],
    "mimo": [("<tool_call>\n<function=get_weather>\n<parameter=city> Paris\n</parameter>\n</function>\n</tool_call>",
              "", [("get_weather", '{"city": " Paris\\n"}')])],
    "step3p5": _QWEN3_CODER[:1],
    "seed_oss": [("<seed:tool_call>\n<function=get_weather>\n<parameter=city>Paris</parameter>\n</function>\n"
                  "</seed:tool_call>", "", [PARIS])],
    "minimax_m2": [('Ok\n<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Paris</parameter>\n'
                    '</invoke>\n<invoke name="now">\n</invoke>\n</minimax:tool_call>', "Ok", [PARIS, NOW])],
    "deepseek_v32": [
        ('Ok\n\n<｜DSML｜function_calls>\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter name="city" '
         'string="true">Paris</｜DSML｜parameter>\n<｜DSML｜parameter name="days" string="false">5'
         "</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>", "Ok\n\n",
         [("get_weather", '{"city": "Paris", "days": 5}')])],
    "deepseek_v4": [
        ('<｜DSML｜tool_calls>\n<｜DSML｜invoke name="get_weather">\n<｜DSML｜parameter name="city" '
         'string="true">Paris</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜tool_calls>', "", [PARIS])],
    "glm45": [("Ok\n<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Paris</arg_value>\n<arg_key>days"
               "</arg_key>\n<arg_value>2</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>", "Ok",
               [("get_weather", '{"city": "Paris", "days": 2}'), NOW])],
    "glm47": [("<tool_call>get_weather<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>", "", [PARIS])],
    "pythonic": [
        ('[get_weather(city="Paris"), now()]', "", [PARIS, NOW]),
        ("[get_weather(city='P)a\\'r\"', days=-3, near=[1, {'a': (True, None)}], exact=false)]", "",
         [("get_weather", '{"city": "P)a\'r\\"", "days": -3, "near": [1, {"a": [true, null]}], "exact": false}')]),
        ("[1, 2, 3]", "[1, 2, 3]", []), ("[get_weather(city=", "[get_weather(city=", []),
        ("[get_weather(city=open)]", "[get_weather(city=open)]", []), ("plain", "plain", [])],
    "llama4_pythonic": [('<|python_start|>[get_weather(city="Paris")]<|python_end|>', "", [PARIS])],
    "olmo3": [('<function_calls>get_weather(city="Paris")\nnow()</function_calls>', "", [PARIS, NOW])],
    "lfm2": [('Ok <|tool_call_start|>[get_weather(city="Paris")]<|tool_call_end|>Wait.', "Ok Wait.", [PARIS])],
    "gemma4": [
        ('Ok\n<|tool_call>call:get_weather{city:<|"|>Paris<|"|>,days:3,near:[<|"|>a,}<|"|>,b]}<tool_call|>'
         "<|tool_call>call:now{}<tool_call|>", "Ok",
         [("get_weather", '{"city": "Paris", "days": 3, "near": ["a,}", "b"]}'), NOW])],
    "functiongemma": [("<start_function_call>call:get_weather{city:<escape>Paris<escape>,days:<escape>3<escape>}"
                       "<end_function_call>", "", [("get_weather", '{"city": "Paris", "days": 3}')])],
    "openai": [
        ("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.get_weather "
         '<|constrain|>json<|message|>{"city": "Paris"}<|call|>', "", [PARIS]),
        ("<|channel|>final<|message|>Hello", "Hello", []), ("no channel", "no channel", []),
        ("<|channel|>commentary<|message|>First.<|end|><|start|>assistant to=functions.now<|channel|>commentary"
         "<|message|>{}", "First.", [NOW])],
}
