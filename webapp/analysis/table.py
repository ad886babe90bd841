"""The table in memory and on disk: one array for each column. Runs in the child.

Rows come in blocks of strings and leave as arrays, so a table of a million rows never exists as Python strings. A
column of plain numbers is converted block by block; any other keeps a number for each different value and is judged
when all were seen, or when there are too many.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from webapp.analysis.inferring import CODE, MISSING, MOST, NO_DATE, Meaning, infer
from webapp.analysis.params import MAX_CELLS, MAX_COLUMNS
from webapp.analysis.rows import Rows, bad
from webapp.core.errors import Invalid, TooLarge

BLOCK = 20_000  # rows
DISTINCT, CHARACTERS = 200_000, 32 * 2**20  # of a column's different values that are kept as such
EXAMPLES = 5


@dataclass
class Column:
    """values: float64 with NaN (number), int64 seconds or NO_DATE (date), codes or -1 (boolean, category, text), or
    hashes (text with too many different values, `labels` empty; 0 is missing)."""

    name: str
    kind: str
    values: Any
    labels: list[str] = field(default_factory=list)
    unit: str = ""
    style: str = ""
    notes: list[str] = field(default_factory=list)
    odd: int = 0  # cells that do not fit the kind; missing from here on
    odd_examples: list[str] = field(default_factory=list)
    lengths: dict[str, float] = field(default_factory=dict)  # of text: shortest, mean, longest

    def present(self) -> Any:
        """Which rows have a value."""
        if self.kind == "number":
            return ~np.isnan(self.values)
        if self.kind == "date":
            return self.values != NO_DATE
        return self.values != 0 if self.hashed else self.values >= 0

    @property
    def is_year(self) -> bool:
        """Whole numbers like 1987 in a column whose name says year: a place in time and no quantity."""
        words = ("year", "jahr", "année", "annee", "año", "anno")
        if self.kind != "number" or not self.name.casefold().endswith(words):
            return False
        known = self.values[self.present()]
        return bool(len(known)) and bool(np.all((known == np.floor(known)) & (known > 1500) & (known < 2200)))

    @property
    def hashed(self) -> bool:
        return self.kind == "text" and not self.labels and self.values.dtype == np.uint64


@dataclass
class Table:
    columns: list[Column]
    rows: int
    notes: list[str] = field(default_factory=list)

    def named(self, name: str) -> Column:
        for column in self.columns:
            if column.name == name:
                return column
        known = ", ".join(column.name for column in self.columns[:30])
        raise bad(f"there is no column “{name[:80]}”", f"Columns: {known}")

    def of_kind(self, *kinds: str) -> list[Column]:
        return [column for column in self.columns if column.kind in kinds]


# --- reading ----------------------------------------------------------------------------------------------------


class Again(Exception):
    """These columns began as numbers and are something else: read them as words from the start."""

    def __init__(self, names: set[str]) -> None:
        self.names = names


def read(
    openers: list[Callable[[], Rows]],
    options: dict[str, Any],
    told: Callable[[int, float], None] = lambda rows, share: None,
) -> Table:
    """All files as one table. told: called with the rows read so far and the share of everything they are.

    options: `columns`, `decimal`, `dates`. Raises Invalid for files that do not fit together and what the opener raises.
    """
    words: set[str] = set()
    while True:
        try:
            return _read(openers, options, told, words)
        except Again as again:
            words |= again.names


def _read(
    openers: list[Callable[[], Rows]], options: dict[str, Any], told: Callable[[int, float], None], words: set[str]
) -> Table:
    builders: list[Builder] = []
    notes: list[str] = []
    rows = 0
    for number, opener in enumerate(openers):
        opened = opener()
        places = _places(opened.names, options.get("columns"))
        names = [opened.names[place] for place in places]
        comma = options | {"comma_file": opened.about.get("delimiter") == ";"}
        if not builders:
            builders = [Builder(name, comma, name in words) for name in names]
        elif sorted(names) != sorted(builder.name for builder in builders):
            raise bad(f"file {number + 1} has other columns than the first", "Analyse them one by one.")
        order = [places[names.index(builder.name)] for builder in builders]
        notes += [note for note in opened.notes if note not in notes]
        for block in _blocks(opened.rows):
            rows += len(block)
            if rows * len(builders) > MAX_CELLS:
                raise TooLarge(f"the table has more than {MAX_CELLS:,} cells", suggestion="Choose fewer columns.")
            cells = list(zip(*block, strict=True))
            for builder, place in zip(builders, order, strict=True):
                builder.add(cells[place])
            told(rows, (number + opened.share()) / len(openers))
    if not rows:
        raise bad("there are names of columns but no rows")
    if again := {builder.name for builder in builders if builder.mixed}:
        raise Again(again)
    return Table([builder.column() for builder in builders], rows, notes)


def _places(names: list[str], wanted: list[str] | None) -> list[int]:
    if wanted:
        if unknown := [name for name in wanted if name not in names]:
            raise bad(f"there is no column “{unknown[0][:80]}”", f"Columns: {', '.join(names[:30])}")
        return [names.index(name) for name in wanted]
    if len(names) > MAX_COLUMNS:
        raise Invalid(f"the table has {len(names):,} columns; up to {MAX_COLUMNS} are analysed at once",
                      code="bad_table", suggestion="Name the ones you want in `columns`.")  # fmt: skip
    return list(range(len(names)))


def _blocks(rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    while block := list(islice(rows, BLOCK)):
        yield block


class Builder:
    """One column, block by block: first as plain numbers if its beginning looks like them, else by its words."""

    def __init__(self, name: str, options: dict[str, Any], as_words: bool) -> None:
        self.name, self.options = name, options
        self.mode = "words" if as_words or options.get("decimal") == "comma" else ""
        self.parts: list[Any] = []
        self.codes: dict[str, int] = {}
        self.characters = 0
        self.seen = self.odd = 0
        self.odd_examples: list[str] = []
        self.meaning = Meaning("empty")
        self.length_sum, self.shortest, self.longest = 0, 10**9, 0

    def add(self, cells: tuple[str, ...]) -> None:
        if not self.mode:
            self.mode = "numbers" if self._starts_as_numbers(cells) else "words"
        getattr(self, f"_add_{self.mode}")(cells)

    @property
    def mixed(self) -> bool:
        return self.mode == "numbers" and self.odd > (1 - MOST) * (self.seen or 1)

    # -- plain numbers

    def _starts_as_numbers(self, cells: tuple[str, ...]) -> bool:
        values, odd = self._floats(cells)
        known = int(np.sum(~np.isnan(values)))
        return bool(known) and len(odd) <= (1 - MOST) * known and not self._codes(cells)

    def _codes(self, cells: tuple[str, ...]) -> bool:
        return sum(1 for cell in cells if CODE.match(cell.strip())) > (1 - MOST) * len(cells)

    def _floats(self, cells: tuple[str, ...]) -> tuple[Any, list[str]]:
        """Numbers written as every program reads them, and the cells that are neither one nor missing."""
        import pandas as pd

        values = pd.to_numeric(pd.Series(cells, dtype=object), errors="coerce").to_numpy(np.float64, copy=True)
        values[~np.isfinite(values)] = np.nan
        gaps = np.flatnonzero(np.isnan(values))
        odd = [cells[at] for at in gaps if cells[at].strip() not in MISSING]
        return values, odd

    def _add_numbers(self, cells: tuple[str, ...]) -> None:
        values, odd = self._floats(cells)
        self.seen += int(np.sum(~np.isnan(values))) + len(odd)
        self._count_odd(odd)
        self.parts.append(values)

    def _count_odd(self, odd: list[str]) -> None:
        self.odd += len(odd)
        for cell in odd:
            if len(self.odd_examples) >= EXAMPLES:
                break
            if (shown := cell.strip()[:60]) not in self.odd_examples:
                self.odd_examples.append(shown)

    # -- words

    def _add_words(self, cells: tuple[str, ...]) -> None:
        import pandas as pd

        local, different = pd.factorize(np.array(cells, dtype=object))
        known = np.empty(len(different), np.int32)
        for at, cell in enumerate(different):
            label = cell.strip()
            known[at] = -1 if label in MISSING else self._code(label)
        self.parts.append(known[local])
        if len(self.codes) > DISTINCT or self.characters > CHARACTERS:
            self._overflow()

    def _code(self, label: str) -> int:
        code = self.codes.get(label)
        if code is None:
            code = self.codes[label] = len(self.codes)
            self.characters += len(label)
        return code

    def _overflow(self) -> None:
        """Too many different values to keep: what was seen decides what the rest is read as."""
        codes = np.concatenate(self.parts)
        labels = list(self.codes)
        counts = np.bincount(codes[codes >= 0], minlength=len(labels))
        self.meaning = infer(labels, counts.tolist(), self.options)
        self.mode = "converted" if self.meaning.kind in ("number", "date") else "hashed"
        values = self._turned(labels)
        self.codes = {}
        missing = np.nan if self.meaning.kind == "number" else NO_DATE if self.meaning.kind == "date" else 0
        table = np.append(values, np.array([missing], values.dtype))
        if self.mode == "converted":
            self._count_odd([label for label, value in zip(labels, values, strict=True) if self._is_gap(value)])
        self.parts = [table[codes]]

    def _turned(self, labels: list[str]) -> Any:
        if self.meaning.convert is not None and self.mode == "converted":
            return self.meaning.convert(labels)
        import pandas as pd

        lengths = [len(label) for label in labels]
        self.length_sum += sum(lengths)
        self.shortest, self.longest = min([self.shortest, *lengths]), max([self.longest, *lengths])
        return pd.util.hash_array(np.array(labels, dtype=object), categorize=False) | np.uint64(1)

    def _is_gap(self, value: Any) -> bool:
        return bool(np.isnan(value)) if self.meaning.kind == "number" else bool(value == NO_DATE)

    def _add_converted(self, cells: tuple[str, ...]) -> None:
        stripped = [cell.strip() for cell in cells]
        assert self.meaning.convert is not None
        values = self.meaning.convert(stripped)
        gaps = np.isnan(values) if self.meaning.kind == "number" else values == NO_DATE
        self._count_odd([stripped[at] for at in np.flatnonzero(gaps) if stripped[at] not in MISSING])
        self.parts.append(values)

    def _add_hashed(self, cells: tuple[str, ...]) -> None:
        stripped = [cell.strip() for cell in cells]
        values = self._turned(stripped)
        values[[at for at, cell in enumerate(stripped) if cell in MISSING]] = 0
        self.parts.append(values)

    # -- the end

    def column(self) -> Column:
        values = self.parts[0] if len(self.parts) == 1 else np.concatenate(self.parts)
        self.parts = []
        if self.mode == "words":
            return self._judged(values)
        kind = {"numbers": "number", "hashed": "text"}.get(self.mode) or self.meaning.kind
        lengths = {}
        if self.mode == "hashed":
            lengths = {
                "shortest": self.shortest,
                "longest": self.longest,
                "mean": self.length_sum / max(1, int(np.sum(values != 0))),
            }
        notes = [self.meaning.note] if self.meaning.note else []
        return Column(self.name, kind, values, [], self.meaning.unit, self.meaning.style, notes, self.odd,
                      self.odd_examples, lengths)  # fmt: skip

    def _judged(self, codes: Any) -> Column:
        labels = list(self.codes)
        counts = np.bincount(codes[codes >= 0], minlength=len(labels)).tolist()
        found = infer(labels, counts, self.options)
        notes = [found.note] if found.note else []
        if found.kind in ("category", "text", "empty"):
            return Column(self.name, found.kind, codes, labels, notes=notes, lengths=_lengths(labels, counts))
        assert found.convert is not None
        values = found.convert(labels)
        if found.kind == "boolean":
            return Column(self.name, "boolean", np.append(values, np.int8(-1))[codes], found.labels, notes=notes)
        self.meaning = found
        gaps = [at for at, value in enumerate(values) if self._is_gap(value)]
        self._count_odd([labels[at] for at in gaps])
        self.odd = sum(counts[at] for at in gaps)
        missing = np.nan if found.kind == "number" else NO_DATE
        spread = np.append(values, np.array([missing], values.dtype))[codes]
        return Column(self.name, found.kind, spread, [], found.unit, found.style, notes, self.odd, self.odd_examples)


def _lengths(labels: list[str], counts: list[int]) -> dict[str, float]:
    if not labels:
        return {}
    sizes = [len(label) for label in labels]
    mean = sum(size * count for size, count in zip(sizes, counts, strict=True)) / max(1, sum(counts))
    return {"shortest": min(sizes), "mean": mean, "longest": max(sizes)}


# --- on disk ----------------------------------------------------------------------------------------------------


def save(table: Table, folder: Path) -> None:
    """Arrays first, their description last: a folder without it holds no table."""
    about = []
    for number, column in enumerate(table.columns):
        np.save(folder / f"column-{number}.npy", column.values, allow_pickle=False)
        rest = {key: value for key, value in vars(column).items() if key != "values"}
        about.append(rest)
    whole = {"rows": table.rows, "notes": table.notes, "columns": about}
    part = folder / "table.part"
    part.write_text(json.dumps(whole), "utf-8")
    part.replace(folder / "table.json")


def load(folder: Path, only: set[str] | None = None) -> Table:
    """only: names of the columns whose values are needed."""
    whole = json.loads((folder / "table.json").read_text("utf-8"))
    columns = [
        Column(**about, values=np.load(folder / f"column-{number}.npy", allow_pickle=False))
        for number, about in enumerate(whole["columns"])
        if only is None or about["name"] in only
    ]
    return Table(columns, whole["rows"], whole["notes"])
