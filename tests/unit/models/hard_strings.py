"""Texts that tokenizers disagree about, and a stream of random ones."""

from __future__ import annotations

import random
from collections.abc import Iterator

HARD = (
    "", " ", "  ", "   ", "a", " a", "a ", "  a  b   ", "\n", "\n\n", " \n", "\n ", " \n \n x", "\r\n", "a\r\n\tb",
    "\t", "\t\tx", " \t \t", "x" + " " * 40 + "y", " " * 65, "\n" * 33, "line\n\n\n\nline  \n", "trailing   \n  ",
    "½", "a½b", " ½ cup", "1½", "1234567890", "3.14159e-10", "v1.2.3-rc4", "٣٤٥", "１２３", "Ⅷ", "x²", "²³¹", "①②",
    "1,000,000.00", "0x1F", "12 345", "2024-01-31T00:00:00Z",
    "don't", "DON'T", "it's 'S 'LL 've 'Re", "I'll they'd we'VE", "'s", "'ſ", "o'clock", "rock'n'roll", "''", "’s",
    "é", "e\u0301", "n\u0303o\u0308", "\u0301", " \u0301a", "Å\u030a", "한국어", "\u1112\u1161\u11ab",
    "👩\u200d👩\u200d👧\u200d👦", "🏳\ufe0f\u200d🌈", "👍🏽", "🇫🇷🇩🇪", "☃\ufe0f", "a👍b 👍 c",
    "שלום עולם", "مرحبا بالعالم", "\u202eabc\u202c", "\u200fאבג\u200e", "ภาษาไทยไม่มีช่องว่าง",
    "你好，世界。", "こんにちは世界", "カタカナ半角ｶﾀｶﾅ", "नमस्ते दुनिया", "Привет, мир!", "Ωμέγα", "ǅ ǆ Ǆ",
    "ß ẞ ſ", "İ i̇ ı",
    "\x00", "a\x00b", "\x01\x02\x1f", "\x7f", "\x85", "a\x85b", "\xa0", "a\xa0b", "\u2028x\u2029", "\u3000全角",
    "\ufeffbom", "\ufffd", "\ufffe", "\uffff", "a\uffffb \uffff", "\U0010ffff", "\ue000", "\u200b \u200c\u200d",
    "def f(x):\n    return x**2  # ok\n", "if (a&&b||!c) { x->y = *p++; }", "<div class=\"a\">&nbsp;</div>",
    "SELECT * FROM t WHERE a='b';", "https://x.y/z?q=1&r=%20#f", "C:\\path\\to\\file.txt", "____", "-----", "...",
    "!?!?", "$100 €5 £3 ¥9", "a_b-c.d/e\\f", "CamelCaseWordsHTTPServer", "ALLCAPS", "aA1bB2", "#!/usr/bin/env",
    "@user #tag", "\u1c89 \U00010d4a \U00013460 \U0001e5f1", "\U0002ebf0\U000323b0",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!",
    "aе o０ｏ mixed ｗｉｄｅ", "𝒜𝓁𝓅𝒽𝒶 𝟙𝟚𝟛", "︘ ﷺ ﬁ", "a\u0000\u0301", "  \u00a0\u2003 x", "\n\u3000\n",
    "/\n//\n", "!\n\n? \r\n",
)

_RANGES = (
    *((0x20, 0x7f),) * 6, (0, 0x20), (0x80, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xe80),
    (0x1e00, 0x2100), (0x2000, 0x2070), (0x2070, 0x2c00), (0x3000, 0x3100), (0x4e00, 0x9fff), (0xac00, 0xd7a3),
    (0xfe00, 0x10000), (0x10000, 0x20000), (0x1f300, 0x1fb00), (0x20, 0x21), (0x0a, 0x0b), (0x0d, 0x0e), (0x30, 0x3a),
)
_PIECES = ("'s", "'S", "'LL", "'re", "'Ve", "  ", "\n\n", "\r\n", "\t", " \n", "123", "4567", "don't", "I'll", "ſ'ſ",
           "hello", "World", "_", "::", "//", " ½", "٣", "Ⅷ", "e\u0301", "▁", " ", "\u3000", "\xa0", "\u2028", "\x85")


def random_texts(count: int, seed: int, special: tuple[str, ...] = ()) -> Iterator[str]:
    """The same texts for the same seed, in every Python."""
    source = random.Random(seed)

    def below(limit: int) -> int:
        return int(source.random() * limit)  # the one method whose stream is promised to stay

    for _ in range(count):
        out = []
        for _ in range(1 + below(24)):
            kind = source.random()
            if kind < 0.15:
                out.append(_PIECES[below(len(_PIECES))])
            elif kind < 0.18 and special:
                out.append(special[below(len(special))])
            else:
                begin, end = _RANGES[below(len(_RANGES))]
                out.append(chr(begin + below(end - begin)) * (1 + below(3) // 2))
        yield "".join(out)
