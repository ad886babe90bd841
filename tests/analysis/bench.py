"""An analysis without a worker: the steps of the kind one after the other, in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from webapp.analysis import child, writing
from webapp.analysis.kind import PARTS
from webapp.analysis.params import AnalysisParams


def analysed(
    folder: Path, *, file: Path | None = None, content: str | bytes = b"", name: str = "table.csv", **params: Any
) -> dict[str, Any]:
    """The result of a file or of some content; proves on the way that JSON can carry it."""
    if file is None:
        file = folder / "source"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
    given = AnalysisParams(text="-", **params).model_dump(mode="json", exclude_none=True)
    source = {"path": str(file), "name": name if name != "table.csv" else file.name, "content_type": "", "charset": None, "url": None,
              "bytes": file.stat().st_size, "sha256": "0" * 64}  # fmt: skip
    where, most, target, group = str(folder), given["max_categories"], given.get("target"), given.get("group")
    read = child.read(where, [source], given)
    parts = PARTS[given["analysis_type"]]
    found: dict[str, Any] = {"described": child.describe(where, most)}
    if "relate" in parts:
        found["related"] = child.relate(where, most)
    if "compare" in parts:
        found["compared"] = child.compare(where, most, target, group)
    if "follow" in parts:
        found["followed"] = child.follow(where, None, given["analysis_type"] == "trend")
    result: dict[str, Any] = json.loads(json.dumps(writing.result(given, [source], read, found), allow_nan=False))
    return result
