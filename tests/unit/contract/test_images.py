"""Images in a conversation: bytes that are there, of a size that an engine can take."""

from __future__ import annotations

import base64
import struct
from dataclasses import replace
from typing import Any

import pytest

from modelkit.contract.errors import ContractError
from modelkit.contract.images import dimensions
from modelkit.contract.messages import conversation
from tests.unit.contract.profiles import PLAIN, limited

SEES = replace(PLAIN, images=True)


def png(width: int = 3, height: int = 2) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"\0\0\0\x0dIHDR" + struct.pack(">II", width, height) + b"\x08\x02\0\0\0"


def jpeg(width: int = 3, height: int = 2, before: bytes = b"\xff\xe0\0\x04ab\xff") -> bytes:
    return b"\xff\xd8" + before + b"\xff\xc2\0\x11\x08" + struct.pack(">HH", height, width) + b"\x03" + bytes(9)


WEBP = {
    "lossy": b"VP8 \0\0\0\0\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 3, 2) + bytes(8),
    "lossless": b"VP8L\0\0\0\0\x2f" + struct.pack("<I", 2 | 1 << 14) + bytes(8),
    "extended": b"VP8X\0\0\0\0\0\0\0\0" + b"\x02\0\0\x01\0\0" + bytes(8)}


def shown(data: bytes, kind: str = "png", **more: Any) -> dict[str, Any]:
    url = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": url, **more}}


def at(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def asked(*parts: Any, profile: Any = SEES, role: str = "user") -> list[dict[str, Any]]:
    return conversation([{"role": role, "content": list(parts)}], profile)


@pytest.mark.parametrize("data", [
    png(), jpeg(), jpeg(before=b""), b"GIF89a" + struct.pack("<HH", 3, 2),
    *(b"RIFF\0\0\0\0WEBP" + body for body in WEBP.values())], ids=lambda data: data[:16].hex())
def test_a_header_says_how_large_an_image_is(data: bytes) -> None:
    assert dimensions(data) == (3, 2)


@pytest.mark.parametrize("data", [
    b"", b"x", png()[:20], b"\xff\xd8\xff", jpeg()[:9], b"RIFF\0\0\0\0WEBPVP8 ", b"GIF89a", b"<svg/>",
    b"\xff\xd8" + b"\xff" * 4000, b"\xff\xd8" + b"\xff\xe0\0\0" * 999])
def test_what_is_no_image_has_no_size(data: bytes) -> None:
    assert dimensions(data) is None


def test_texts_and_images_keep_their_order() -> None:
    one, two = {"type": "text", "text": "a"}, {"type": "text", "text": "b"}
    (message,) = asked(one, two, shown(png(), detail="low"), two)
    assert message["content"] == [{"type": "text", "text": "ab"}, shown(png()), two]


def test_without_an_image_a_content_is_text_as_ever() -> None:
    assert asked({"type": "text", "text": "a"}, {"type": "text", "text": "b"})[0]["content"] == "ab"


@pytest.mark.parametrize(("part", "param", "code"), [
    (at("https://example.com/a.png"), ".image_url.url", "unsupported_parameter"),
    (at("file:///etc/passwd"), ".image_url.url", "unsupported_parameter"),
    (at("data:image/svg+xml;base64,AAAA"), ".image_url.url", "invalid_value"),
    (at("data:image/png;base64,!!"), ".image_url.url", "invalid_value"),
    (shown(b"no image"), ".image_url.url", "invalid_value"), (shown(png(0, 5)), ".image_url.url", "invalid_value"),
    (shown(png(100000, 100000)), ".image_url.url", "invalid_value"),
    ({"type": "image_url"}, ".image_url", "missing_required_parameter"),
    ({"type": "image_url", "image_url": "x"}, ".image_url", "invalid_type"),
    (shown(png(), size=3), ".image_url.size", "unknown_parameter"),
    ({"type": "input_audio", "input_audio": {}}, ".type", "unsupported_parameter")])
def test_other_pictures_are_refused(part: Any, param: str, code: str) -> None:
    with pytest.raises(ContractError) as caught:
        asked({"type": "text", "text": "What is this?"}, part)
    assert (caught.value.status, caught.value.code) == (400, code)
    assert caught.value.param == f"messages[0].content[1]{param}"


def test_there_may_be_only_so_many() -> None:
    profile = replace(limited(images=2), images=True)
    assert len(asked(shown(png()), shown(png()), profile=profile)) > 1
    with pytest.raises(ContractError, match="has 3 images; it may have 2"):
        asked(*[shown(png())] * 3, profile=profile)


@pytest.mark.parametrize(("profile", "role"), [(PLAIN, "user"), (SEES, "system")])
def test_who_does_not_see_says_so(profile: Any, role: str) -> None:
    with pytest.raises(ContractError, match="reads text only, not images"):
        asked(shown(png()), profile=profile, role=role)
