"""What a document's file or page says about itself, in words for people (M123). Pure."""

from __future__ import annotations

from typing import Any

COUNTED = (("pages", "Pages"), ("slides", "Slides"), ("sheets", "Sheets"), ("chapters", "Chapters"), ("rows", "Rows"),
           ("entries", "Entries"), ("cells", "Cells"), ("attachments", "Attachments"))  # fmt: skip


def shown(meta: dict[str, Any] | None) -> list[tuple[str, str]]:
    """(label, value) of what `Extracted.meta` holds, in the order in which people ask for it."""
    meta = meta or {}
    found = [("Size", size(meta["bytes"]))] if _number(meta.get("bytes")) else []
    if _number(meta.get("duration")):
        found.append(("Duration", duration(meta["duration"])))
    if _number(meta.get("width")) and _number(meta.get("height")):
        found.append(("Dimensions", f"{meta['width']:,} × {meta['height']:,} pixels"))
    found += [(label, f"{meta[name]:,}") for name, label in COUNTED if _number(meta.get(name))]
    found += [(label, str(meta[name])[:60]) for name, label in (("codec", "Sound"), ("encoding", "Encoding"))
              if isinstance(meta.get(name), str)]  # fmt: skip
    return found


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def size(count: float) -> str:
    """As file managers write it: 512 bytes, 14 kB, 2.3 MB (1 kB is 1,000 bytes)."""
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB", "GB"):
        count /= 1000
        if count < 999.5 or unit == "GB":
            break
    return f"{count:.1f} {unit}" if count < 9.95 else f"{count:,.0f} {unit}"


def duration(seconds: float) -> str:
    """4.2 s, 3 min 7 s, 1 h 2 min"""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    whole, part = (f"{minutes // 60} h", f"{minutes % 60} min") if minutes >= 60 else (f"{minutes} min", f"{rest} s")
    return whole if part.startswith("0 ") else f"{whole} {part}"
