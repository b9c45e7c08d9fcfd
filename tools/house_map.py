"""Writes the map of the package into its pages, from the first lines of the modules.

    python tools/house_map.py

CONTRIBUTING.md gets a row for each room, docs/explanation/architecture.md a row for each module. What stands
between `<!-- map -->` and `<!-- /map -->` is replaced; tests/test_house.py compares it with the code.
"""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "ucuie"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
_START, _END = "<!-- map -->\n", "<!-- /map -->"


def purpose(path: Path) -> str:
    """The first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def rooms() -> list[Path]:
    """The folders of the package that hold modules, in the order of their names."""
    return sorted(path.parent for path in PACKAGE.glob("*/__init__.py"))


def room_rows() -> list[str]:
    """A row for each room, then one for each file beside them."""
    files = sorted(PACKAGE.glob("*.py"))
    return [
        "| where | what |",
        "|---|---|",
        *(f"| `{room.name}/` | {purpose(room / '__init__.py')} |" for room in rooms()),
        *(f"| `{file.name}` | {purpose(file)} |" for file in files),
    ]


def module_rows() -> list[str]:
    """A table for each room, with a row for each of its modules."""
    rows: list[str] = []
    for room in rooms():
        rows += [f"### `{room.name}/`", purpose(room / "__init__.py"), "", "| module | what |", "|---|---|"]
        for path in sorted(room.rglob("*.py")):
            if path != room / "__init__.py":
                rows.append(f"| `{path.relative_to(room)}` | {purpose(path)} |")
        rows.append("")
    return rows


def with_map(page: Path, text: str) -> str:
    """The text of a page with its map made anew."""
    rows = room_rows() if page == CONTRIBUTING else module_rows()
    start = text.index(_START) + len(_START)
    return text[:start] + "\n".join(rows).rstrip() + "\n" + text[text.index(_END) :]


def main() -> None:
    """Write both pages."""
    for page in (CONTRIBUTING, ARCHITECTURE):
        page.write_text(with_map(page, page.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
