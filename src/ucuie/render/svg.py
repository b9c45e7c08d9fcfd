"""Pieces of SVG pictures, as text."""

from collections.abc import Iterable
from html import escape


def picture(parts: Iterable[str], *, width: int, height: int, title: str) -> str:
    """A file that any browser shows: parts on white under a title; left and right are 10 units of margin."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="-10 0 {width + 20} {height}" font-family="system-ui, sans-serif">\n'
        f'<rect x="-10" width="{width + 20}" height="{height}" fill="white"/>\n'
        f"{text(0, 20, title, size=15, weight='bold')}\n" + "\n".join(parts) + "\n</svg>\n"
    )


def rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    """A filled rectangle."""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:g}" fill="{colour}"/>'


def line(points: Iterable[tuple[float, float]], colour: str, *, is_dashed: bool = False) -> str:
    """A line through points (x, y)."""
    joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dashes = ' stroke-dasharray="3 3"' if is_dashed else ""
    return f'<polyline points="{joined}" fill="none" stroke="{colour}"{dashes}/>'


def dot(x: float, y: float, colour: str) -> str:
    """A filled circle."""
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>'


def text(
    x: float, y: float, content: str, *, size: int = 11, anchor: str = "start", weight: str = "normal"
) -> str:
    """Words on one line; `anchor` is start, middle or end."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{escape(content)}</text>'
    )
