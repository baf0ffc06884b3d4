"""The rows of the model picker: as many columns as there is room for."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text

from edgellm.apps.chat.choosing.offers import Offer
from edgellm.apps.chat.choosing.verdicts import Fit, Verdict
from edgellm.apps.chat.widgets import figures
from edgellm.apps.terminal_text import one_line

_GAP, _MARK_CELLS = 2, 2


@dataclass(frozen=True, slots=True)
class Column:
    """One column behind the name."""

    title: str
    cells: int
    name_cells: int  # that names are cut to for it


FITS = Column("here now", 16, 14)
NEEDS = Column("needs", 9, 22)
BITS = Column("bits", 5, 28)
CONTEXT = Column("context", 9, 28)
FILE = Column("file", 9, 28)
_COLUMNS = (FITS, NEEDS, BITS, CONTEXT, FILE)  # what matters most stands first, and stays longest


@dataclass(frozen=True, slots=True)
class Row:
    """One model, judged."""

    offer: Offer
    verdict: Verdict
    is_loaded: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns there are, and how wide the names."""

    columns: tuple[Column, ...]
    name_cells: int
    cells: int  # of the whole row

    @classmethod
    def of(cls, cells: int, names: Iterable[str]) -> "Layout":
        """Names are cut for columns; what no column takes is theirs again."""
        longest = max([FITS.name_cells, *(Text(one_line(name)).cell_len for name in names)])
        left, columns = cells - _MARK_CELLS, []
        for column in _COLUMNS:
            if left - _GAP - column.cells < min(longest, column.name_cells):
                break
            columns.append(column)
            left -= _GAP + column.cells
        return cls(tuple(columns), min(left, longest), cells)

    def heading(self) -> Text:
        line = Text(" " * _MARK_CELLS + "model".ljust(self.name_cells), no_wrap=True)
        for column in self.columns:
            line.append(" " * _GAP + _placed(Text(column.title), column).plain)
        return line

    def line(self, row: Row) -> Text:
        offer = row.offer
        line = Text("● " if row.is_loaded else "  ", no_wrap=True, overflow="ellipsis")
        name = Text(one_line(offer.name), "bold" if row.is_loaded else "")
        name.truncate(self.name_cells, overflow="ellipsis", pad=True)
        line.append_text(name)
        if offer.problem or offer.file_bytes is None:
            line.append(f"  {one_line(offer.problem or offer.about)}", "dim")
            line.truncate(self.cells, overflow="ellipsis")
            if offer.problem:
                line.stylize("dim")
            return line
        for column in self.columns:
            line.append(" " * _GAP).append_text(_placed(_cell(row, column), column))
        return line


def _placed(cell: Text, column: Column) -> Text:
    """Words stand left, numbers right."""
    spaces = " " * max(column.cells - cell.cell_len, 0)
    return cell.append(spaces) if column is FITS else Text(spaces).append_text(cell)


def _cell(row: Row, column: Column) -> Text:
    offer = row.offer
    if column is FITS:
        return Text("loaded", "bold") if row.is_loaded else verdict_text(row.verdict)
    shown = {
        NEEDS: offer.needed_bytes and figures.memory(offer.needed_bytes),
        BITS: offer.bits_per_weight and f"{offer.bits_per_weight:.2f}",
        CONTEXT: offer.context and figures.count(offer.context),
        FILE: offer.file_bytes and figures.memory(offer.file_bytes),
    }[column]
    return Text(shown or "-")


def verdict_text(verdict: Verdict) -> Text:
    """The verdict in a few words, in its colour."""
    match verdict.fit:
        case Fit.FITS:
            return Text("fits", "green")
        case Fit.INSTEAD:
            return Text("fits instead", "green")
        case Fit.SHORT:
            least = "> " if verdict.is_least else ""
            return Text(f"{least}{figures.memory(verdict.short_bytes)} short", "yellow")
        case Fit.BARRED:
            return Text(f"not by {verdict.option}"[: FITS.cells], "red")
        case Fit.UNKNOWN:
            return Text("no plan", "dim")


def names_of(offers: Sequence[Offer]) -> list[str]:
    """Of those that have numbers beside their names."""
    return [offer.name for offer in offers if offer.file_bytes is not None]
