"""What of the paper can be made: each table and figure with the runs that it needs and what writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...methods import list_methods
from ..jobs import Variant
from . import sets
from .entries import Entry, method_entries, option_entries
from .published import TABLE_4, TABLE_5, TABLE_6, TABLE_8, Numbers
from .runs import Need, Workshop
from .sets import Column

Write = Callable[[Workshop, "Part"], list[Path]]


@dataclass(frozen=True)
class Part:
    """A table or a figure.

    Args:
        name: as the command line has it.
        title: what it shows.
        columns: training sets and test sets that it needs.
        entries: its lines.
        write: writes its files from finished runs, and returns them.
        seeds: of each run, where none are named: tables that compare variants of one method need several.
    """

    name: str
    title: str
    columns: Sequence[Column]
    entries: Callable[[Workshop, Part], list[Entry]]
    write: Write
    seeds: int = 1

    def needs(self, shop: Workshop) -> list[Need]:
        """Return the runs that it is made from."""
        return shop.needs(self.columns, self.entries(shop, self), self.seeds)


def _methods(shop: Workshop, part: Part) -> list[Entry]:
    return method_entries(part.columns, shop.methods)


def _options(table: Numbers) -> Callable[[Workshop, Part], list[Entry]]:
    def entries(shop: Workshop, part: Part) -> list[Entry]:
        present = shop.sets.present(part.columns)
        made = shop.sets.of(present[0]) if present else None
        if made is None:
            return []
        given = any(word.split("=")[0] == "--backbone" for word in shop.shared)
        return option_entries(table, shop.method, shop.config(made[0]), given)

    return entries


def _labels(*endings: str) -> Callable[[Workshop, Part], list[Entry]]:
    """Return the method in GeoDTR+'s place, with options after it; a name stands for a method of its own."""
    return lambda shop, part: [
        Entry(Variant.parse(shop.method + ending if not ending or ending[0] == ":" else ending), {})
        for ending in endings
    ]


def _none(shop: Workshop, part: Part) -> list[Entry]:
    return []


def _table(shop: Workshop, part: Part) -> list[Path]:
    from .table import write_table

    return write_table(shop, part.name, part.title, part.columns, part.entries(shop, part), part.seeds)


def _costs(shop: Workshop, part: Part) -> list[Path]:
    from ...utils.files import write_text  # imports torch
    from ...utils.tables import markdown_table
    from ..costs import cost_table
    from ..report import as_cells

    table = cost_table(shop.methods or list_methods(), shop.option("--device", "auto"))
    notes = "\n".join(f"- {note}" for note in table.notes)
    files = [shop.root / f"{part.name}.md", shop.root / f"{part.name}.csv"]
    write_text(files[0], f"# {part.title}\n\n{markdown_table(table.heads, table.lines)}\n\n## Notes\n\n{notes}\n")
    write_text(files[1], as_cells([table.heads, *([cell.strip("-") for cell in line] for line in table.lines)]))
    return files


def _figure(module: str, function: str) -> Write:
    """Return what draws a figure; its module is imported when it is wanted."""

    def write(shop: Workshop, part: Part) -> list[Path]:
        import importlib

        return getattr(importlib.import_module(module, __package__), function)(shop, part)

    return write


ALL_PARTS = (
    Part("table1", "Table I: methods in the area that they were trained in", sets.SAME, _methods, _table),
    Part("table2", "Table II: methods in another area", sets.CROSS, _methods, _table),
    Part("table3", "Table III: methods on tiles whose cameras are off their centres (VIGOR)", sets.OFFSET, _methods,
         _table),
    Part("table4", "Table IV: layout extractor, trunk and CHSG", sets.CENTRED, _options(TABLE_4), _table, 3),
    Part("table5", "Table V: number of layout descriptors", sets.CENTRED, _options(TABLE_5), _table, 3),
    Part("table6", "Table VI: augmentation without and with CHSG", sets.TRAINED_ON_CVUSA, _options(TABLE_6), _table, 3),
    Part("table7", "Table VII: parameters, multiply-accumulates and time of every method", (), _none, _costs),
    Part("table8", "Table VIII: the variants of CHSG", sets.TRAINED_ON_CVUSA, _options(TABLE_8), _table, 3),
    Part("figure1", "Figure 1: R@1 in the same area against R@1 in another one, of all methods", sets.CENTRED, _methods,
         _figure(".pictures", "draw_methods")),
    Part("figure6", "Figure 6: pairs that CVUSA holds more than once", sets.CVUSA_ALONE, _none,
         _figure(".repeats", "draw_repeats")),
    Part("figure7", "Figure 7: layout descriptors of a pair, with polar transform and without", sets.CVUSA_ALONE,
         _labels(":polar", ":no-polar"), _figure(".masks", "draw_descriptors")),
    Part("figure8", "Figure 8: the first descriptors of GeoDTR and GeoDTR+", sets.CVUSA_ALONE, _labels("geodtr", ""),
         _figure(".masks", "draw_first_descriptors")),
    Part("figure9", "Figure 9: training loss of raw data, LS, LS with twice the batch, and CHSG", sets.CVUSA_ALONE,
         _options(TABLE_6), _figure(".pictures", "draw_losses")),
    Part("figure10", "Figure 10: distances of pairs, of flipped and turned ones, and of other places",
         sets.TRAINED_ON_CVUSA, _labels(":chsg=raw", ":chsg=l+s"), _figure(".pictures", "draw_distances")),
)  # fmt: skip
PARTS = {part.name: part for part in ALL_PARTS}
