"""Asks one question. It knows a URL, a key and a model name; which engine answers is none of its business."""

import sys

from openai import OpenAI

MODEL = "quickstart"


def main() -> None:
    question = " ".join(sys.argv[1:]) or "What is the capital of France?"
    client = OpenAI()  # OPENAI_BASE_URL and OPENAI_API_KEY
    stream = client.chat.completions.create(
        model=MODEL, messages=[{"role": "user", "content": question}], stream=True
    )
    for chunk in stream:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            print(text, end="", flush=True)
    print()


if __name__ == "__main__":
    main()
