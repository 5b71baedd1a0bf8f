"""Images in conversations, on the real model with a projector that was made up: what is seen must show in the text."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from modelkit.contract.profile import Profile
from tests.live.llamacpp.process import CONTEXT, NAME, Process, eventually, running
from tests.live.llamacpp.projector_file import SIZES, Kind, png, url, write

pytestmark = pytest.mark.live_llamacpp

PROFILE = Profile(NAME, "llamacpp", CONTEXT, defaults={"temperature": 0}, images=True)
MOST = 8


@pytest.fixture(scope="module", params=["janus_pro", "gemma3"])
def kind(request: pytest.FixtureRequest) -> Kind:
    return request.param


@pytest.fixture(scope="module")
def seeing(kind: Kind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    file = write(tmp_path_factory.mktemp("projector") / "mmproj.gguf", kind)
    with running(PROFILE, projector=str(file)) as process:
        yield process.ready()


def image(seed: int, **how: int) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url(png(seed, **how))}}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def turn(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": list(parts)}]


def answer(process: Process, messages: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return process.post("/v1/chat/completions", messages=messages, **{"max_tokens": MOST, **more})


def scores(answered: dict[str, Any]) -> list[float]:
    """How likely the model found its first token and some others."""
    first = answered["choices"][0]["logprobs"]["content"][0]
    return [round(one["logprob"], 2) for one in first["top_logprobs"]]


def seen(process: Process, *parts: dict[str, Any]) -> list[float]:
    return scores(answer(process, turn(*parts), logprobs=True, top_logprobs=8, max_tokens=1))


def test_the_image_shows_and_the_same_one_shows_again(seeing: Process) -> None:
    question = text("What is this?")
    first, other = seen(seeing, question, image(1)), seen(seeing, question, image(2))
    assert first != other
    assert seen(seeing, question, image(1)) == pytest.approx(first, abs=0.05)
    assert seen(seeing, question) != first


def test_its_tokens_are_counted_and_cached(seeing: Process, kind: Kind) -> None:
    messages = turn(text("How many tokens?"), image(3))
    usage = answer(seeing, messages)["usage"]
    ids = seeing.post("/tokenize", messages=messages)["tokens"]
    assert usage["prompt_tokens"] == len(ids)
    assert ids.count(-1) == SIZES[kind]
    before = seeing.metric("prefix_cache_hits_total")
    answer(seeing, messages)
    assert seeing.metric("prefix_cache_hits_total") - before == len(ids) - 1


def test_two_images_and_their_order(seeing: Process) -> None:
    both = seen(seeing, image(1), text("and"), image(2), text("?"))
    assert both != seen(seeing, image(2), text("and"), image(1), text("?"))
    assert both != seen(seeing, image(1), text("and"), image(1), text("?"))


def test_an_image_in_the_middle_of_a_conversation(seeing: Process) -> None:
    def talk(seed: int) -> list[dict[str, Any]]:
        return [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello!"},
                *turn(image(seed), text("Look.")), {"role": "assistant", "content": "I see."},
                {"role": "user", "content": "What was it?"}]

    found = [scores(answer(seeing, talk(seed), logprobs=True, top_logprobs=8, max_tokens=1)) for seed in (1, 2, 1)]
    assert found[0] == pytest.approx(found[2], abs=0.05) and found[0] != found[1]


def test_a_stream_is_the_whole_answer(seeing: Process) -> None:
    messages = turn(text("Say more."), image(4))
    whole = answer(seeing, messages)["choices"][0]["message"]["content"]
    chunks = seeing.openai.chat.completions.create(model=NAME, messages=messages, max_tokens=MOST, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == whole


def test_several_choices_and_several_clients(seeing: Process) -> None:
    several = answer(seeing, turn(image(5), text("Go on.")), n=3, temperature=1, seed=7)
    assert len(several["choices"]) == 3
    asked = [turn(text("Describe:"), image(seed)) for seed in (11, 12, 13, 14)]
    with ThreadPoolExecutor(4) as pool:
        together = [one["choices"][0]["message"]["content"] for one in pool.map(lambda one: answer(seeing, one), asked)]
    assert all(together)
    eventually(lambda: seeing.metric("num_requests_running") == 0)


def test_who_leaves_frees_the_place(seeing: Process) -> None:
    messages = turn(*(image(seed) for seed in range(30, 36)), text("Tell me everything."))
    with seeing.http.stream("POST", "/v1/chat/completions", json={
            "model": NAME, "messages": messages, "stream": True, "ignore_eos": True}) as answered:
        assert next(answered.iter_lines())
    eventually(lambda: seeing.metric("num_requests_running") == 0)
    assert answer(seeing, messages)["choices"][0]["message"]["content"]


def test_other_apis_show_images_too(seeing: Process) -> None:
    data = url(png(1))
    usage = answer(seeing, turn(text("What?"), image(1)))["usage"]
    responses = seeing.post("/v1/responses", max_output_tokens=MOST, store=False, input=[{"role": "user", "content": [
        {"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": data, "detail": "auto"}]}])
    assert responses["usage"]["input_tokens"] == usage["prompt_tokens"]
    source = {"type": "base64", "media_type": "image/png", "data": data.partition(",")[2]}
    messages = [{"role": "user", "content": [text("What?"), {"type": "image", "source": source}]}]
    said = seeing.post("/v1/messages", max_tokens=MOST, messages=messages)
    assert said["usage"]["input_tokens"] == usage["prompt_tokens"]
    assert said["content"][0]["text"] == responses["output"][0]["content"][0]["text"]


@pytest.mark.parametrize(("data", "kind_", "says"), [
    (png(1)[:60], "png", "can't be decoded"),
    (png(1, width=400, height=2), "png", "too narrow"),
    (b"RIFF\x1a\0\0\0WEBPVP8L\x0d\0\0\0\x2f\0\0\0\x10\x07\x10\x11\x11\x88\x88\xfe\x07\0", "webp", "PNG, JPEG, GIF"),
])
def test_what_is_no_image_is_refused_and_nothing_dies(seeing: Process, data: bytes, kind_: str, says: str) -> None:
    part = {"type": "image_url", "image_url": {"url": url(data, kind_)}}
    error = seeing.refused("/v1/chat/completions", messages=turn(text("What?"), part))
    assert says in error["message"]
    assert answer(seeing, turn(text("Hi.")))["choices"]


def test_too_much_is_refused_with_both_numbers(seeing: Process, kind: Kind) -> None:
    many = [image(seed) for seed in range(16)]
    error = seeing.refused("/v1/chat/completions", messages=turn(text("word " * 480), *many))
    count = len(seeing.post("/tokenize", messages=turn(text("word " * 480), *many))["tokens"])
    assert count > 480 + 16 * SIZES[kind]
    assert error["code"] == "context_length_exceeded"
    assert f"{count} tokens" in error["message"] and f"{CONTEXT} tokens" in error["message"]


def test_a_marker_in_a_text_is_a_text(seeing: Process, kind: Kind) -> None:
    ids = seeing.post("/tokenize", messages=turn(text("<__media__> <__media_0__>"), image(1)))["tokens"]
    assert ids.count(-1) == SIZES[kind]


def test_another_models_projector_is_refused_at_the_start(tmp_path: Path) -> None:
    file = write(tmp_path / "mmproj.gguf", width=128)
    with running(PROFILE, projector=str(file)) as process:
        eventually(lambda: process.process.poll() is not None, 60)
        assert process.process.returncode == 1
        assert "the projector mmproj.gguf does not fit" in process.said.splitlines()[-1]


def test_without_a_projector_images_are_refused(engine: Process) -> None:
    error = engine.refused("/v1/chat/completions", messages=turn(text("What?"), image(1)))
    assert "this model reads text only, not images" in error["message"]
