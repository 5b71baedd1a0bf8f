"""The files beside the Modelfiles of tests: in memory."""

from __future__ import annotations

from modelkit.language.outside import Outside, UnreadableFile

FILES = {"prompt.txt": "You are terse.", "chat.jinja": "{% for m in messages %}{{ m.content }}{% endfor %}",
         "plain.jinja": "{{ messages[0].content }}", "broken.jinja": "{% for m in messages %}",
         "chat.tmpl": "{{ .System }} {{ .Prompt }}", "broken.tmpl": "{{ .Prompt", "empty.txt": ""}


def text(name: str) -> str:
    if name not in FILES:
        raise UnreadableFile("cannot be read: no such file or directory")
    return FILES[name]


BESIDE = Outside(read=text)
