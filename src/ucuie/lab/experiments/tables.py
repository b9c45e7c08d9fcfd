"""Tables of scores over trials, as Markdown, CSV and JSON."""

import csv
import io
import json
from dataclasses import asdict, dataclass
from statistics import fmean, stdev

NOT_GIVEN = "not given"
"""Of numbers of the paper that this project does not know."""


@dataclass(frozen=True)
class Trials:
    """One number in several trials; none of them where nothing is finished.

    Args:
        values: of the trials.
        decimals: that are shown.
    """

    values: tuple[float, ...]
    decimals: int = 1

    @property
    def mean(self) -> float | None:
        """The mean over trials."""
        return fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation; None for fewer than two trials."""
        return stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        if not self.values:
            return "missing"
        spread = "" if self.deviation is None else f" ± {self.deviation:.{self.decimals}f}"
        return f"{fmean(self.values):.{self.decimals}f}{spread}"


Cell = str | int | float | Trials | None


@dataclass(frozen=True)
class Table:
    """Rows of cells under headings.

    Args:
        name: of its files.
        title: above it.
        headings: of the columns.
        rows: as many cells as there are headings.
    """

    name: str
    title: str
    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_markdown(self) -> str:
        """A table with its title as the first line."""
        lines = [f"**{self.title}**", ""]
        lines.append("| " + " | ".join(self.headings) + " |")
        lines.append("|---" * len(self.headings) + "|")
        lines += ["| " + " | ".join(map(_shown, row)) + " |" for row in self.rows]
        return "\n".join(lines) + "\n"

    def to_csv(self) -> str:
        """Numbers as they are; of trials the mean, the deviation and their number in three columns."""
        is_trials = [any(isinstance(row[index], Trials) for row in self.rows) for index in range(self._width)]
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        headings: list[str] = []
        for heading, is_wide in zip(self.headings, is_trials, strict=True):
            headings += [heading, f"{heading} deviation", f"{heading} trials"] if is_wide else [heading]
        writer.writerow(headings)
        for row in self.rows:
            cells: list[Cell] = []
            for cell, is_wide in zip(row, is_trials, strict=True):
                if isinstance(cell, Trials):
                    cells += [cell.mean, cell.deviation, len(cell.values)]
                else:
                    cells += [cell, None, None] if is_wide else [cell]
            writer.writerow(cells)
        return file.getvalue()

    def to_json(self) -> str:
        """Everything, every trial's number included."""
        rows = [dict(zip(self.headings, map(_plain, row), strict=True)) for row in self.rows]
        return json.dumps({"title": self.title, "rows": rows}, indent=1, ensure_ascii=False) + "\n"

    @property
    def _width(self) -> int:
        return len(self.headings)


def _shown(cell: Cell) -> str:
    match cell:
        case None:
            return ""
        case float():
            return f"{cell:,.3g}"
        case int():
            return f"{cell:,}"
        case _:
            return str(cell).replace("|", "\\|")


def _plain(cell: Cell) -> object:
    if isinstance(cell, Trials):
        return asdict(cell) | {"mean": cell.mean, "deviation": cell.deviation}
    return cell
