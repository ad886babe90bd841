"""Tables and data as text: CSV, JSON, notebooks, XML. Runs in the child."""

from __future__ import annotations

import csv
import io
import json
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from webapp.core.errors import Invalid
from webapp.extraction import feeds, markdown
from webapp.extraction.detect import declares_entities

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

ROWS = 50_000
OUTPUT_LINES = 40  # of a notebook cell's printed output
DELIMITERS = ",;\t|"


def read_csv(text: str, characters: int) -> dict[str, Any]:
    """One table; the delimiter is the one that cuts the first lines most evenly."""
    csv.field_size_limit(2**20)
    rows: list[list[str]] = []
    warnings: list[str] = []
    try:
        for row in islice(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter(text) or ","), ROWS + 1):
            if any(field.strip() for field in row):
                rows.append(row)
            characters -= sum(map(len, row)) + 3 * len(row)
            if characters < 0:
                break
    except csv.Error:
        return {"text": text, "method": "plain", "warnings": ["The file is no regular table; read as text."]}
    if len(rows) > ROWS:
        rows = rows[:ROWS]
        warnings.append(f"Only the first {ROWS:,} rows were read.")
    columns = max(map(len, rows), default=0)
    return {"text": markdown.table(rows), "method": "csv", "warnings": warnings,
            "meta": {"rows": len(rows), "columns": columns}}  # fmt: skip


def delimiter(text: str) -> str | None:
    """None when no delimiter cuts the first lines into the same number of two or more fields."""
    lines = [line for line in text[:20_000].splitlines()[:30] if line.strip()]
    if len(text) > 20_000 and len(lines) > 1:
        lines.pop()  # cut
    best: tuple[float, str] | None = None
    for mark in DELIMITERS:
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=mark)]
        except csv.Error:
            continue
        if widths and max(widths) > 1:
            usual = max(set(widths), key=widths.count)
            score = widths.count(usual) / len(widths) if usual > 1 else 0.0
            if best is None or score > best[0]:
                best = (score, mark)
    return best[1] if best and best[0] >= 0.7 else None


def read_json(text: str, characters: int, url: str | None) -> dict[str, Any]:
    """A feed or a notebook if it is one, else the data indented; text that only claims to be JSON stays as it is."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        lines = _json_lines(text)
        if lines is None:
            return {"text": text, "method": "plain", "warnings": ["This is no valid JSON; read as text."]}
        value = lines
    if is_notebook(value):
        return read_notebook(value)
    if is_json_feed(value):
        return feeds.json_feed(value, url)
    try:
        shown = json.dumps(value, ensure_ascii=False, indent=2)[:characters]
    except (ValueError, RecursionError):
        shown = text
    title = value.get("title") if isinstance(value, dict) else None
    return {"text": markdown.fence(shown, "json"), "method": "json",
            "title": title.strip()[:300] or None if isinstance(title, str) else None}  # fmt: skip


def _json_lines(text: str) -> list[Any] | None:
    """JSON Lines: a value on each line."""
    try:
        return [json.loads(line) for line in islice((line for line in text.splitlines() if line.strip()), ROWS)] or None
    except (ValueError, RecursionError):
        return None


def is_notebook(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("cells"), list) and "nbformat" in value


def is_json_feed(value: object) -> bool:
    return isinstance(value, dict) and "jsonfeed.org" in str(value.get("version", ""))[:100]


def read_notebook(book: dict[str, Any]) -> dict[str, Any]:
    """Text cells as they are, code cells fenced, printed output (not pictures) after them."""
    about = book.get("metadata") if isinstance(book.get("metadata"), dict) else {}
    assert isinstance(about, dict)
    spec, info = about.get("kernelspec"), about.get("language_info")
    language = str((info if isinstance(info, dict) else {}).get("name")
                   or (spec if isinstance(spec, dict) else {}).get("language") or "python")  # fmt: skip
    blocks: list[str] = []
    for cell in book["cells"]:
        if not isinstance(cell, dict):
            continue
        source = _joined(cell.get("source"))
        if cell.get("cell_type") == "code":
            blocks += [markdown.fence(source, language)] if source.strip() else []
            blocks += _outputs(cell.get("outputs"))
        else:
            blocks.append(source)
    title = about.get("title") if isinstance(about.get("title"), str) else None
    text = "\n\n".join(block for block in blocks if block.strip())
    return {"text": text, "method": "ipynb", "meta": {"cells": len(book["cells"])}, "content_kind": "ipynb",
            "title": title or first_heading(text)}  # fmt: skip


def first_heading(text: str) -> str | None:
    found = re.search(r"^#{1,2} (.{1,300})$", text[:4000], re.MULTILINE)
    return markdown.without_links(found[1]).strip().rstrip("#").strip() or None if found else None


def _outputs(outputs: Any) -> list[str]:
    shown = []
    for output in outputs if isinstance(outputs, list) else ():
        if not isinstance(output, dict):
            continue
        data = output.get("data") if isinstance(output.get("data"), dict) else {}
        assert isinstance(data, dict)
        text = _joined(output.get("text")) or _joined(data.get("text/markdown")) or _joined(data.get("text/plain"))
        if output.get("output_type") == "error":
            text = f"{output.get('ename', 'Error')}: {output.get('evalue', '')}"
        if text.strip():
            shown.append(markdown.fence("\n".join(text.splitlines()[:OUTPUT_LINES])))
    return shown


def _joined(value: Any) -> str:
    return "".join(map(str, value)) if isinstance(value, list) else value if isinstance(value, str) else ""


# --- XML --------------------------------------------------------------------------------------------------------


def parse_xml(data: bytes, recover: bool = True) -> Element | None:
    """The root; entities that the file declares are refused, nothing is fetched. None when there is no XML in it."""
    from lxml import etree

    if declares_entities(data):
        raise Invalid(
            "The file declares XML entities and is refused.",
            code="xml_entities",
            suggestion="Remove the document type declaration and try again.",
        )
    parser = etree.XMLParser(recover=recover, resolve_entities=False, no_network=True, load_dtd=False,
                             remove_comments=True, remove_pis=True)  # fmt: skip
    try:
        return etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None


def read_xml(text: str, characters: int, url: str | None) -> dict[str, Any]:
    """A feed, or the texts of the innermost elements with their names, one a line."""
    root = parse_xml(re.sub(r"^\s*<\?xml[^>]{0,200}\?>", "", text, count=1).lstrip().encode("utf-8", "replace"))
    if root is None:
        return {"text": text, "method": "plain", "warnings": ["This is no well-formed XML; read as text."]}
    if feeds.is_feed(root):
        return feeds.read_feed(root, characters, url) | {"content_kind": "feed"}
    lines: list[str] = []
    for element in root.iter():
        if not isinstance(element.tag, str):
            continue
        said = " ".join((element.text or "").split())
        lines += [f"{feeds.local(element)}: {said}"] if said else []
        if said_after := " ".join((element.tail or "").split()):
            lines.append(said_after)
        characters -= len(said) + len(said_after)
        if characters < 0:
            break
    title = next(
        (child.text for child in root.iter() if feeds.local(child) == "title" and (child.text or "").strip()), None
    )
    return {"text": "\n".join(lines), "method": "xml", "title": " ".join(title.split())[:300] if title else None}
