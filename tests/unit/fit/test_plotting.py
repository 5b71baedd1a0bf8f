"""Pictures of memory against context and of speed against quality: in text, as SVG, as PNG."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from itertools import pairwise

import pytest
from PIL import Image

from modelkit.cli.fit.plotting import Picture, charts, picture, png, svg, terminal
from modelkit.cli.fit.plotting.charts import _ticks
from modelkit.cli.fit.plotting.series import contexts, group
from modelkit.failure import Failure
from modelkit.planning.fit.budget import Line
from modelkit.planning.fit.report import Rung
from tests.unit.fit.made_up import GiB, budget, report

NAME = "{http://www.w3.org/2000/svg}"


def drawn(capacity: float | None = 16, longest: int | None = 131072) -> Picture:
    def at(rung: Rung, tokens: int):  # type: ignore[no-untyped-def]
        return budget(rung.weights / GiB, tokens, capacity=capacity)

    return picture(report(capacity), at, longest)


def test_the_text_has_every_context_and_where_memory_ends() -> None:
    lines = list(terminal.lines(drawn(), 90, terminal.BLOCKS))
    assert all(len(line) <= 90 for line in lines)
    steps = {int(line[1:].split()[0]): line for line in lines if re.match(r"[> ] +\d+ .*GiB$", line)}
    assert list(steps) == [1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072]
    assert [tokens for tokens, line in steps.items() if line.startswith(">")] == [8192]
    limit = {line.index("│") for line in steps.values()}
    assert len(limit) == 1
    at = limit.pop()
    assert "░" in steps[131072][at:] and set(steps[32768][at + 1 :]) <= set(" 0123456789.GiB")
    widths = [line.count("█") for line in steps.values()]
    assert len(set(widths)) == 1, "the weights are as large with every context"
    assert steps[131072].endswith("24.1 GiB")


def test_paces_stand_in_their_order_on_one_scale() -> None:
    lines = list(terminal.lines(drawn(), 100, terminal.BLOCKS))
    rows = lines[lines.index(next(line for line in lines if line.startswith("SPEED"))) + 1 : -1]
    assert [row[2:].split()[0] for row in rows] == ["F16", "Q8_0", "Q4_K_M"]
    assert rows[1].startswith(">")
    places = [(row.index("├"), row.index("●"), row.index("┤")) for row in rows]
    assert all(low < here < high for low, here, high in places)
    assert [here for _, here, _ in places] == sorted(here for _, here, _ in places)


@pytest.mark.parametrize(("encoding", "signs"), [
    ("utf-8", terminal.BLOCKS), ("latin-1", terminal.ASCII), ("ascii", terminal.ASCII), (None, terminal.ASCII),
    ("no-such", terminal.ASCII)])
def test_terminals_without_blocks_get_ascii(encoding: str | None, signs: terminal.Signs) -> None:
    assert terminal.signs(encoding) == signs
    assert "\n".join(terminal.lines(drawn(), 80, signs)).isascii() == (signs is terminal.ASCII)


def test_memory_without_a_limit_is_drawn_without_one() -> None:
    for capacity in (None, 1000):
        text = "\n".join(terminal.lines(drawn(capacity), 80, terminal.BLOCKS))
        assert "│" not in text and ("1000.0 GiB" in text) == (capacity is not None)
        assert "stroke-dasharray" not in svg.svg(charts.charts(drawn(capacity)))


def test_the_svg_is_one_and_says_everything() -> None:
    root = ET.fromstring(svg.svg(charts.charts(drawn())))
    texts = ["".join(one.itertext()) for one in root.iter(f"{NAME}text")]
    assert {"F16", "Q8_0", "Q4_K_M", "8k", "128k", "16.0 GiB"} <= set(texts) and "IQ1_S" not in texts
    title = root.find(f"{NAME}title")
    assert title is not None and title.text == "bot, stage dev, llama.cpp on this machine"
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for line in root.iter(f"{NAME}polyline"):
        for x, y in (map(float, point.split(",")) for point in line.attrib["points"].split()):
            assert 0 <= x <= width and 0 <= y <= height


def test_names_are_escaped() -> None:
    odd = replace(drawn(), title="<b> & 'bot'")
    assert "&lt;b&gt; &amp;" in svg.svg(charts.charts(odd))
    ET.fromstring(svg.svg(charts.charts(odd)))


def test_labels_of_curves_do_not_hide_each_other() -> None:
    root = ET.fromstring(svg.svg(charts.charts(drawn())))
    heights = sorted(float(one.attrib["y"]) for one in root.iter(f"{NAME}text") if one.text in ("F16", "Q8_0", "Q4_K_M")
                     and one.attrib["text-anchor"] == "start")
    assert len(heights) == 3 and all(later - one >= 12.9 for one, later in pairwise(heights))


def test_the_png_is_one() -> None:
    drawing = charts.charts(drawn())
    image = Image.open(io.BytesIO(png.png(drawing)))
    assert image.format == "PNG" and image.size == (2 * drawing.width, 2 * drawing.height)
    assert len(image.convert("RGB").getcolors(1 << 20) or ()) > 20


def test_without_pillow_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with pytest.raises(Failure) as failed:
        png.png(charts.charts(drawn()))
    assert failed.value.code == "extra-missing" and "modelkit-llm[plot]" in (failed.value.hint or "")


@pytest.mark.parametrize(("asked", "longest", "found"), [
    (8192, 8192, [1024, 2048, 4096, 8192]), (512, 512, [512]), (3000, None, [1024, 2048, 3000, 4096, 8192, 12000]),
    (4096, 1 << 20, [4096, 8192, 16384, 32768, 65536, 131072, 262144, 524288, 1 << 20]),
    (100, 1 << 30, [100, *(1 << power for power in range(23, 31))]),
    (9000, 8192, [1024, 2048, 4096, 8192, 9000])])
def test_contexts(asked: int, longest: int | None, found: list[int]) -> None:
    assert contexts(asked, longest) == found


@pytest.mark.parametrize("largest", [1e-3, 0.7, 1, 3.9, 22.3, 195, 1024, 7e5])
def test_ticks_are_round_and_few(largest: float) -> None:
    ticks = _ticks(largest)
    assert ticks[0] == 0 and ticks[-1] >= largest and 4 <= len(ticks) <= 9


@pytest.mark.parametrize(("name", "what"), [
    ("weights", "weights"), ("weights on the GPU", "weights"), ("attention cache", "cache"),
    ("recurrent state", "cache"), ("KV cache", "cache"), ("draft", "weights"), ("adapter a", "weights"),
    ("compute", "rest"), ("engine", "rest")])
def test_groups_of_lines(name: str, what: str) -> None:
    assert group(Line(name, "ram", 1, "")) == what


def test_one_precision_of_unknown_speed_is_a_picture_too() -> None:
    alone = replace(report(), ladder=(), now=replace(report().now, speed=None))
    found = picture(alone, lambda rung, tokens: budget(7.6, tokens), None)
    assert not found.paces and len(charts.charts(found).things) > 10
    assert "SPEED" not in "\n".join(terminal.lines(found, 80, terminal.ASCII))
