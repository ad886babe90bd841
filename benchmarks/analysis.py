"""A CSV of a million rows (ten columns, 58 MB) through the steps of `data_analysis`, each in its child: seconds, peak memory of
the child, progress that was told. Peer: pandas reading and describing the same file, with its correlations, in one process.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import Report

ROWS = 1_000_000
GIB = 2**30
PEER = """\
import resource, sys, time
import pandas as pd
began = time.monotonic()
frame = pd.read_csv(sys.argv[1])
frame.describe(include="all"), frame.corr(numeric_only=True), frame.duplicated().sum(), frame.nunique()
print(time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def run(report: Report, quick: bool) -> None:
    rows = ROWS // 20 if quick else ROWS
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sales.csv"
        write(file, rows)
        whole, worst, told = 0.0, 0, 0
        for name, args in steps(folder, file):
            seconds, peak, said = measured(name, *args)
            report.add(name, f"{seconds:.1f} s, {peak / 2**20:.0f} MiB, progress told {said} times")
            whole, worst, told = whole + seconds, max(worst, peak), told + said
        theirs, their_peak = peer(file)
        report.add(f"all steps, {rows:,} rows", f"{whole:.1f} s", f"{theirs:.1f} s", f"{whole / theirs:.1f}")
        report.add("most memory of a child", f"{worst / 2**20:.0f} MiB", f"{their_peak / 2**20:.0f} MiB", f"{worst / their_peak:.2f}",
                   "<= 1 GiB", worst <= GIB)  # fmt: skip
        report.add("progress told", f"{told} times", goal=">= 1 a second", ok=told >= whole)
    report.raw |= {"rows": rows}


def write(file: Path, rows: int) -> None:
    chance = random.Random(7)
    with file.open("w") as out:
        out.write("id,date,region,product,quantity,price,discount,customer,returned,comment\n")
        for n in range(rows):
            day = f"{2015 + n * 10 // rows}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}"
            comment = "" if chance.random() < 0.7 else f"note {n}"
            out.write(
                f"{n},{day},{['north', 'south', 'east', 'west'][chance.randrange(4)]},p{chance.randrange(40):02d},{chance.randint(1, 20)},"
                f"{chance.lognormvariate(3, 0.5):.2f},{chance.random() * 0.3:.4f},c{chance.randrange(300_000)},"
                f"{'yes' if chance.random() < 0.05 else 'no'},{comment}\n"
            )


def steps(folder: str, file: Path) -> list[tuple[str, tuple[Any, ...]]]:
    source = {"path": str(file), "name": file.name, "content_type": "text/csv", "charset": None}
    return [("read", (folder, [source], {})), ("describe", (folder, 12)), ("relate", (folder, 12)),
            ("compare", (folder, 12, None, None)), ("follow", (folder, None, False))]  # fmt: skip


def measured(step: str, *args: Any) -> tuple[float, int, int]:
    """(seconds, most bytes of RSS of the child, how often progress was told), under the limits the kind sets."""
    from webapp.analysis.kind import CPU_SECONDS, MEMORY
    from webapp.core.sandbox import run_in_child

    told, peak, over = 0, 0, threading.Event()

    def count(percent: int, text: str) -> None:
        nonlocal told
        told += 1

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.02):
            peak = max(peak, largest())

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    try:
        run_in_child(
            f"webapp.analysis.child:{step}",
            *args,
            timeout=900,
            cpu_seconds=CPU_SECONDS,
            memory_bytes=MEMORY,
            on_progress=count,
        )
    finally:
        over.set()
        watcher.join()
    return time.monotonic() - began, peak, told


def largest() -> int:
    """RSS of the largest process below this one: the child, which is larger than its nursery."""
    import psutil

    sizes = [0]
    for process in psutil.Process().children(recursive=True):
        try:
            sizes.append(process.memory_info().rss)
        except psutil.Error:
            continue
    return max(sizes)


def peer(file: Path) -> tuple[float, float]:
    done = subprocess.run([sys.executable, "-c", PEER, str(file)], capture_output=True, text=True, check=True)
    seconds, peak = map(float, done.stdout.split())
    return seconds, peak
