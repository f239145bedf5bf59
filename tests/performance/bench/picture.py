"""A picture of where a start's time goes and where a pod's memory is: SVG, written by hand."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from tests.performance.bench.spans import Span

_WIDTH, _LEFT, _ROW = 900, 250, 18
_COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#e15759", "#76b7b2", "#edc948", "#9c755f")


def drawn(spans: Mapping[str, Sequence[Span]], memory: Mapping[str, float]) -> str:
    """Return the picture: the parts of each call along its own time, and the parts of the memory."""
    rows = list(_rows(spans, memory))
    height = (len(rows) + 1) * _ROW
    body = "\n".join(row.format(y=number * _ROW + 4, text=number * _ROW + 16) for number, row in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="100%" height="100%" fill="white"/>\n{body}\n</svg>\n'
    )


def _rows(spans: Mapping[str, Sequence[Span]], memory: Mapping[str, float]) -> Iterator[str]:
    for title, parts in spans.items():
        whole = max(span.end for span in parts)
        yield _text(0, f"{title}: {whole:.3f} s", bold=True)
        for span in parts[1:]:
            yield _bar(span.name, span.begin, span.end, whole, f"{span.end - span.begin:.3f} s", span.depth)
    if memory:
        whole, begin = sum(memory.values()), 0.0
        yield _text(0, f"An idle pod with a container: {whole:.0f} MiB of the host", bold=True)
        for name, value in memory.items():
            yield _bar(name, begin, begin + value, whole, f"{value:.1f} MiB", 1)
            begin += value


def _bar(name: str, begin: float, end: float, whole: float, label: str, depth: int) -> str:
    scale = (_WIDTH - _LEFT - 90) / (whole or 1)
    x, width = _LEFT + begin * scale, max((end - begin) * scale, 1)
    bar = f'<rect x="{x:.1f}" y="{{y}}" width="{width:.1f}" height="14" fill="{_COLOURS[depth % len(_COLOURS)]}"/>'
    return f"{_text(depth * 10, name)}{bar}{_text(x + width + 4, label)}"


def _text(x: float, text: str, *, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{{text}}"{weight}>{escape(text).replace("{", "{{").replace("}", "}}")}</text>'
