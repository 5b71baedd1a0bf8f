"""Images in a conversation: their bytes, in the request itself. Nothing is fetched, and nothing is decoded here.

What a header promises is checked before an engine sees it: a picture of a few bytes can be made of a billion pixels.
Standard library only.
"""

from __future__ import annotations

import binascii
import re
from typing import Any

from modelkit.contract.checks import shown, unknown
from modelkit.contract.errors import invalid, missing, unsupported, wrong_type
from modelkit.contract.profile import Limits

_DATA = re.compile(r"data:image/(png|jpeg|webp|gif);base64,", re.I)
_KINDS = "PNG, JPEG, WebP or GIF"
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
"""JPEG's markers of a frame, which says the size; C4, C8 and CC are others."""


def image(part: dict[str, Any], place: str, limits: Limits) -> dict[str, Any]:
    """An `image_url` part in normal form. Raises ContractError for what is no image, or elsewhere, or too large."""
    said = part.get("image_url")
    if said is None:
        raise missing(f"{place}.image_url")
    if not isinstance(said, dict):
        raise wrong_type(f"{place}.image_url", "an object", said)
    for name in said:
        if name not in ("url", "detail"):
            raise unknown(f"{place}.image_url.{name}", name, ("url", "detail"))
    url, place = said.get("url"), f"{place}.image_url.url"
    if url is None:
        raise missing(place)
    if not isinstance(url, str):
        raise wrong_type(place, "a string", url)
    found = _DATA.match(url)
    if found is None:
        if url[:5].lower() == "data:":
            raise invalid(place, f"`{place}` is {shown(url[:40])}; it must be `data:image/png;base64,…` of {_KINDS}")
        raise unsupported(place, "an image is sent as a `data:` URL with its bytes: nothing is fetched here")
    try:
        data = binascii.a2b_base64(url[found.end():], strict_mode=True)
    except binascii.Error:
        raise invalid(place, f"`{place}` is no base64") from None
    size = dimensions(data)
    if size is None or 0 in size:
        raise invalid(place, f"`{place}` has the bytes of no image: it must be {_KINDS}")
    if size[0] * size[1] > limits.image_pixels:
        raise invalid(place, f"`{place}` has {size[0]} x {size[1]} pixels; it may have {limits.image_pixels}")
    return {"type": "image_url", "image_url": {"url": url}}


def dimensions(data: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, as the header of the file says them; None for what is no PNG, JPEG, WebP or GIF."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) >= 24:
        return _big(data[16:20]), _big(data[20:24])
    if data[:6] in (b"GIF87a", b"GIF89a") and len(data) >= 10:
        return _little(data[6:8]), _little(data[8:10])
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP" and len(data) >= 30:
        return _webp(data)
    return _jpeg(data) if data[:3] == b"\xff\xd8\xff" else None


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        return _little(data[24:27]) + 1, _little(data[27:30]) + 1
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = _little(data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF
    return None


def _jpeg(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
        elif marker in _FRAMES:
            return _big(data[at + 7:at + 9]), _big(data[at + 5:at + 7])
        elif marker == 0x01 or 0xD0 <= marker <= 0xD8:  # these have no length
            at += 2
        else:
            at += 2 + max(2, _big(data[at + 2:at + 4]))
    return None


def _big(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _little(raw: bytes) -> int:
    return int.from_bytes(raw, "little")
