"""A form out of a kind's JSON Schema: its fields, what was typed into them, and the parameters they make.

Three shapes of the same thing: `Field`s (what is asked), `raw` (what was typed: strings, nested as the names are)
and parameters (what the kind gets). A control's name is its place: `steps.0.prompt`. Knows no Flask.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from webapp.tasks.form_fields import MAX_ROWS, ONE_LINE, YES, Errors, Field, Given, Raw, fields_of

__all__ = ["Field", "Raw", "fields_of"]

# -- what was typed --------------------------------------------------------------------------------------------------


def read(fields: Iterable[Field], given: Given, prefix: str = "") -> Raw:
    """What a submitted form says to these fields. What it does not name is not there."""
    raw: Raw = {}
    for one in fields:
        name = prefix + one.key
        value = _read_nested(one, given, name) if one.is_nested else _read_plain(one, given, name)
        if value is not None:
            raw[one.name] = value
    return raw


def _read_plain(one: Field, given: Given, name: str) -> Any:
    values = given.get(name)
    if values is None:
        return None
    if one.control in ("choices", "upload"):
        return [value for value in dict.fromkeys(values) if value]
    return values[-1]


def _read_nested(one: Field, given: Given, name: str) -> Any:
    if one.control == "group":
        return read(one.fields, given, f"{name}.") or None
    numbers = sorted({int(n) for key in given if (n := _row_number(key, name)) is not None})[:MAX_ROWS]
    rows = [_read_row(one, given, f"{name}.{n}.") for n in numbers]
    return rows if numbers else None


def _row_number(key: str, name: str) -> str | None:
    if not key.startswith(f"{name}."):
        return None
    number = key[len(name) + 1 :].split(".", 1)[0]
    return number if number.isascii() and number.isdigit() and len(number) < 5 else None


def _read_row(one: Field, given: Given, prefix: str) -> Raw:
    raw = read(one.fields, given, prefix)
    return raw | read(one.of(raw), given, prefix) if one.variants else raw


def without_blank_rows(fields: Iterable[Field], raw: Raw) -> Raw:
    """The same without rows into which nothing was written: they were offered, not filled in."""
    out = dict(raw)
    for one in fields:
        value = raw.get(one.name)
        if one.control == "rows" and isinstance(value, list):
            kept = [without_blank_rows(one.of(row), row) for row in value if not _is_blank(one.of(row), row)]
            out[one.name] = kept
        elif one.control == "group" and isinstance(value, dict):
            out[one.name] = without_blank_rows(one.fields, value)
    return out


def _is_blank(fields: Iterable[Field], raw: Raw) -> bool:
    for one in fields:
        value = raw.get(one.name)
        if one.control == "rows":
            if any(not _is_blank(one.of(row), row) for row in value or ()):
                return False
        elif one.control == "group":
            if not _is_blank(one.fields, value or {}):
                return False
        elif one.control not in ("select", "checkbox", "hidden") and not _untouched(one, value):
            return False
    return True


def _untouched(one: Field, value: Any) -> bool:
    if isinstance(value, list):
        return not value
    text = (value or "").strip()
    return not text or (one.default is not None and text == _shown(one, one.default))


# -- parameters ------------------------------------------------------------------------------------------------------


def params_of(fields: Iterable[Field], raw: Raw, prefix: str = "") -> tuple[dict[str, Any], Errors]:
    """The parameters, and what could not be read at all, by the control's name. What is empty is left to the model."""
    params: dict[str, Any] = {}
    errors: Errors = {}
    for one in fields:
        name = prefix + one.key
        try:
            value = _param(one, raw.get(one.name), name, errors)
        except ValueError as exc:
            errors.setdefault(name, []).append(str(exc))
            continue
        if value is not None:
            params[one.name] = value
    return params, errors


def _param(one: Field, value: Any, name: str, errors: Errors) -> Any:
    if one.control == "rows":
        return _params_of_rows(one, value, name, errors)
    if one.control == "group":
        if not one.required and _is_blank(one.fields, value or {}):
            return None
        inner, wrong = params_of(one.fields, value or {}, f"{name}.")
        errors.update(wrong)
        return inner
    if one.control == "checkbox":
        return None if value is None else str(value).lower() in YES
    if isinstance(value, list):  # choices, uploads
        return (value[0] if value else None) if one.single else (value or ([] if one.required else None))
    if one.control == "hidden" and not value:
        return one.default
    text = (value or "").replace("\r\n", "\n").replace("\r", "\n")
    if text.strip():
        return _of_string(one, text)
    return [] if one.required and one.control in ("lines", "words") else None


def _params_of_rows(one: Field, value: Any, name: str, errors: Errors) -> list[dict[str, Any]] | None:
    rows = []
    for number, row in enumerate(value or ()):
        inner, wrong = params_of(one.of(row), row, f"{name}.{number}.")
        errors.update(wrong)
        tag = {one.tag: row.get(one.tag) or next(iter(one.variants))} if one.variants else {}
        rows.append({**tag, **inner})
    return rows if rows or one.required else None


def _of_string(one: Field, text: str) -> Any:
    if one.control in ("lines", "words"):
        parts = text.split() if one.control == "words" else [line.strip() for line in text.split("\n") if line.strip()]
        return [_number(part) for part in parts] if one.numeric else parts
    if one.control == "pairs":
        return _pairs(one, text)
    if one.control == "json":
        return _json(text)
    if one.control in ONE_LINE or one.control == "select":
        text = text.strip()
        return _number(text) if one.numeric else text
    return text


def _number(text: str) -> Any:
    """A number where it is one; the model says of anything else what is wrong with it."""
    if re.fullmatch(r"[+-]?\d{1,15}", text):
        return int(text)
    try:
        value = float(text) if len(text) < 40 else None
    except ValueError:
        value = None
    return value if value is not None and abs(value) < float("inf") else text


def _pairs(one: Field, text: str) -> dict[str, Any]:
    if text.lstrip().startswith("{"):
        given = _json(text)
        return given if isinstance(given, dict) else {}
    found = {}
    for number, line in enumerate(text.split("\n"), 1):
        name, colon, value = line.partition(":")
        if not line.strip():
            continue
        if not colon or not name.strip():
            raise ValueError(f"line {number}: write it as name: value")
        found[name.strip()] = _number(value.strip()) if one.numeric else value.strip()
    return found


def _json(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as exc:
        raise ValueError(f"this is not JSON: {exc.msg} in line {exc.lineno}, column {exc.colno}") from None
    except RecursionError:
        raise ValueError("this JSON is nested too deep") from None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


# -- and back --------------------------------------------------------------------------------------------------------


def shown(fields: Iterable[Field], params: Mapping[str, Any]) -> Raw:
    """Parameters as they would have been typed: a finished task's form."""
    raw: Raw = {}
    for one in fields:
        value = params.get(one.name)
        if value is None:
            continue
        if one.control == "rows":
            raw[one.name] = [_shown_row(one, row) for row in value if isinstance(row, Mapping)][:MAX_ROWS]
        elif one.control == "group":
            raw[one.name] = shown(one.fields, value) if isinstance(value, Mapping) else {}
        else:
            raw[one.name] = _shown(one, value)
    return raw


def _shown_row(one: Field, row: Mapping[str, Any]) -> Raw:
    tag = {one.tag: str(row.get(one.tag) or "")} if one.variants else {}
    return tag | shown(one.of(tag), row)


def _shown(one: Field, value: Any) -> Any:
    if one.control in ("choices", "upload"):
        return [str(item) for item in (value if isinstance(value, list) else [value])]
    if one.control == "checkbox":
        return "1" if value else "0"
    if one.control in ("lines", "words", "textarea") and isinstance(value, list) and _are_lines(value):
        return "\n".join(str(item) for item in value)
    if one.control == "pairs" and isinstance(value, Mapping):
        plain = all(":" not in str(key) and "\n" not in f"{key}{item}" for key, item in value.items())
        return "\n".join(f"{key}: {item}" for key, item in value.items()) if plain else _dump(value)
    if one.control == "json" or isinstance(value, dict | list):
        return _dump(value)
    return str(value)


def _are_lines(value: list[Any]) -> bool:
    return all(not isinstance(item, dict | list) and "\n" not in str(item) for item in value)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def default_of(one: Field) -> Any:
    """What stands in a control before anybody wrote into it."""
    if one.default is None or one.default == [] or one.default == {}:
        return [] if one.control in ("choices", "upload") else ""
    return _shown(one, one.default)


def facts(fields: Iterable[Field], params: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(label, value) of what a task was asked that fits on a line, in the words of its form."""
    found = []
    for one in fields:
        value = params.get(one.name)
        if one.pane or one.control not in (*ONE_LINE, "select", "checkbox") or value in (None, ""):
            continue
        said = ("No", "Yes")[value] if isinstance(value, bool) else str(value)
        found.append((one.label, dict(one.options).get(str(value), said)))
    return found


# -- errors and buttons ----------------------------------------------------------------------------------------------


def place_of(fields: Iterable[Field], loc: Iterable[Any]) -> str:
    """The control that an error of the model belongs to; "" when it is none's. Names of variants in `loc` are passed by."""
    name, here, nested = "", tuple(fields), None
    for part in loc:
        if isinstance(part, int) and nested is not None and nested.control == "rows":
            name = f"{name}.{part}"
            here = tuple({f.key: f for fields_ in (nested.fields, *nested.variants.values()) for f in fields_}.values())
            continue
        found = next((one for one in here if one.name == part), None)
        if found is None:
            continue
        name, nested = f"{name}.{found.key}" if name else found.key, found
        here = found.fields if found.control == "group" else ()
    return name


def act(fields: Iterable[Field], raw: Raw, what: str) -> Raw:
    """Do what a button of the form says: add:steps, remove:steps.1, up:steps.1, down:steps.0, nested ones alike."""
    verb, _, path = what.partition(":")
    parts = path.removeprefix("param.").split(".")
    if verb not in ("add", "remove", "up", "down") or not parts[0]:
        return raw
    return _act(tuple(fields), raw, verb, parts)


def _act(fields: tuple[Field, ...], raw: Raw, verb: str, parts: list[str]) -> Raw:
    one = next((f for f in fields if f.name == parts[0] and f.is_nested), None)
    if one is None:
        return raw
    if one.control == "group":
        return {**raw, one.name: _act(one.fields, raw.get(one.name) or {}, verb, parts[1:])} if len(parts) > 1 else raw
    rows = list(raw.get(one.name) or [{} for _ in range(first_rows(one))])
    number = int(parts[1]) if len(parts) > 1 and parts[1].isdigit() and len(parts[1]) < 5 else None
    if number is not None and number >= len(rows):
        return raw
    if len(parts) > 2 and number is not None:
        rows[number] = _act(one.of(rows[number]), rows[number], verb, parts[2:])
    elif verb == "add" and number is None and len(rows) < one.most:
        rows.append({})
    elif number is not None:
        _move(rows, verb, number)
    return {**raw, one.name: rows}


def _move(rows: list[Raw], verb: str, number: int) -> None:
    if verb == "remove":
        del rows[number]
        return
    other = number + (1 if verb == "down" else -1)
    if 0 <= other < len(rows):
        rows[number], rows[other] = rows[other], rows[number]


def first_rows(one: Field) -> int:
    """How many empty rows a group shows that nobody wrote into."""
    return max(1, min(one.least, 10))


def place_name(loc: Iterable[Any]) -> str:
    """A place for people: `steps 2 prompt`."""
    return " ".join(str(part + 1) if isinstance(part, int) else str(part).replace("_", " ") for part in loc)


def title_of(fields: Iterable[Field], params: Mapping[str, Any]) -> str:
    """A name for a task whose owner gave none: the first words of what it works on."""
    for one in fields:
        value = params.get(one.name)
        if one.control == "words" and isinstance(value, list) and value:
            more = f" and {len(value) - 1} more" if len(value) > 1 else ""
            return str(value[0]).split("://", 1)[-1][:80] + more
        if one.control in ("text", "textarea") and isinstance(value, str) and value.strip():
            first = value.strip().splitlines()[0].lstrip("#> ").strip()
            return first[:80] + ("…" if len(first) > 80 else "")
    return ""
