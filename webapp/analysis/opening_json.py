"""JSON and JSON Lines as rows. Runs in the child."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from webapp.analysis.params import MAX_CELL
from webapp.analysis.rows import Rows, bad, headed, named


def read(file: Path, code: str) -> Rows:
    text = file.read_text(code).lstrip("\ufeff")
    try:
        value = json.loads(text, parse_constant=_no_constant)
        about = {"format": "JSON"}
    except RecursionError:
        raise bad("the JSON is nested too deeply") from None
    except NotFinite as error:
        raise bad(f"{error} is no JSON number", "Write null where a value is missing.") from None
    except ValueError as error:
        value, about = _json_lines(text, str(error)), {"format": "JSON Lines"}
    return from_value(value, about)


class NotFinite(Exception):
    """NaN or Infinity; no ValueError, which would mean that the text is no JSON at all."""


def _no_constant(name: str) -> Any:
    raise NotFinite(name)


def _json_lines(text: str, why: str) -> list[Any]:
    lines = text.splitlines()
    if len([line for line in lines[:50] if line.strip()]) < 2:
        raise bad(f"this is no valid JSON: {why[:200]}")
    found = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(json.loads(line, parse_constant=_no_constant))
            except NotFinite as error:
                raise bad(f"{error} in line {number:,} is no JSON number", "Write null instead.") from None
            except RecursionError:
                raise bad(f"the JSON in line {number:,} is nested too deeply") from None
            except ValueError as error:
                what = why if number == 1 else f"line {number:,}: {error}"
                raise bad(f"this is no valid JSON: {what[:200]}") from None
    return found


def from_value(value: Any, about: dict[str, Any]) -> Rows:
    """`{"values": [...]}`, an object of columns, a list of numbers, of objects or of rows; or one such list in an object."""
    if isinstance(value, dict):
        lists = {name: cells for name, cells in value.items() if isinstance(cells, list)}
        if len(lists) == 1 and (only := next(iter(lists.values()))) and isinstance(only[0], dict | list):
            return from_value(only, about)
        if lists and len(lists) == len(value):
            return _columns(lists, about)
        raise bad("a JSON table is a list of objects, or an object with a list for each column")
    if not isinstance(value, list) or not value:
        raise bad("there is no table in the JSON: a list of rows or an object of columns is expected")
    if all(isinstance(one, dict) for one in value):
        return _objects(value, about)
    if all(isinstance(one, list) for one in value):
        rows = ([cell(one) for one in row] for row in value)
        return headed((row for row in rows if any(row)), {}, about)
    if any(isinstance(one, dict | list) for one in value):
        raise bad("the JSON mixes rows and single values")
    return _columns({"values": value}, about)


def _columns(columns: dict[str, list[Any]], about: dict[str, Any]) -> Rows:
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        short, long = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise bad(
            f"the columns differ in length: “{long[:60]}” has {lengths[long]:,} values, “{short[:60]}” {lengths[short]:,}"
        )
    notes: list[str] = []
    names = named(list(columns), notes)
    return Rows(names, ([cell(one) for one in row] for row in zip(*columns.values(), strict=True)), about, notes)


def _objects(rows: list[dict[str, Any]], about: dict[str, Any]) -> Rows:
    """Columns are all keys, in the order they appear; nested objects become `outer.inner`."""
    flat = [_flat(row) for row in rows]
    keys = list(dict.fromkeys(key for row in flat for key in row))
    notes: list[str] = []
    return Rows(named(keys, notes), ([row.get(key, "") for key in keys] for row in flat), about, notes)


def _flat(row: dict[str, Any], before: str = "", depth: int = 0) -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in row.items():
        if isinstance(value, dict) and depth < 3:
            found |= _flat(value, f"{before}{key}.", depth + 1)
        else:
            found[f"{before}{key}"] = cell(value)
    return found


def cell(value: Any) -> str:
    """A value as a CSV would hold it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        return str(value) if value.bit_length() < 10_000 else "too large a number"
    return json.dumps(value, ensure_ascii=False)[:MAX_CELL]
