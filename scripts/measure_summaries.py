"""Make webapp/home/examples/summaries.csv anew: a table that the first page offers to analyse, of real measurements.

Starts a server on a temporary home, has it summarise stretches of the documentation of several lengths to several limits
without a model, and writes down what each task's row says. Run it on a machine that does nothing else.

    python scripts/measure_summaries.py
"""

from __future__ import annotations

import csv
import random
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.shots import server  # noqa: E402

TABLE = ROOT / "webapp" / "home" / "examples" / "summaries.csv"
LENGTHS = (250, 500, 1000, 2000, 3000, 4000)  # words of a text
LIMITS = (60, 150, 300)  # words of a summary
EACH = 10  # texts of each length


def main() -> None:
    words = " ".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md"))).split(" ")
    plan = [(length, limit) for length in LENGTHS for limit in LIMITS for _ in range(EACH)]
    draw = random.Random(7)
    draw.shuffle(plan)  # so that what the machine does meanwhile belongs to no length
    rows = []
    with tempfile.TemporaryDirectory() as home, server(Path(home), BRAINSTEM_DEMO="0") as url:
        for length, limit in plan:
            start = draw.randrange(len(words) - length)
            rows.append(measure(url, " ".join(words[start : start + length]), limit))
    with TABLE.open("w", encoding="utf-8", newline="") as file:
        out = csv.DictWriter(file, fieldnames=list(rows[0]))
        out.writeheader()
        out.writerows(rows)
    print(f"{len(rows)} summaries measured")


def measure(url: str, text: str, limit: int) -> dict[str, Any]:
    """One summary from start to end, by the times of its task."""
    asked = {"task_type": "summary", "task_config": {"content": text, "max_length": limit}}
    task = requests.post(f"{url}/api/v1/utils/ai-tasks/", json=asked, timeout=10).json()
    while task["status"] not in ("completed", "failed"):
        time.sleep(0.1)
        task = requests.get(f"{url}/api/v1/utils/ai-tasks/{task['id']}/", timeout=10).json()
    result = task["result_data"]
    took = datetime.fromisoformat(task["completed_at"]) - datetime.fromisoformat(task["started_at"])
    return {"limit": f"{limit} words", "text_words": len(text.split()), "text_sentences": result["sentence_count"],
            "summary_words": result["words"], "summary_sentences": len(result["sentences"]),
            "seconds": round(took.total_seconds(), 3)}  # fmt: skip


if __name__ == "__main__":
    main()
