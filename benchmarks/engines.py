"""A local model through the product beside the bare loop of its library: tokens a second, first token, stopping.

The bare loop is what a script would do with the same file, threads and window: load, read the prompt, sample, write.
Both run in turn in each round, so that a slower moment of the machine hits both. The file has TinyLlama's shape and
random weights (BENCH_GGUF names another one): it shows speed and plumbing, never quality.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness as h
from benchmarks.harness import Report

TOKENS = 48
WORDS = "the of and to in is that for it as was on with be by at from this "
PROMPT = WORDS * 6
SHORT = "the of and"  # read in so little time that 50 ms more can be told from the machine's own unrest


def run(report: Report, quick: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        models = Path(folder) / "models"
        models.mkdir()
        if _is_tiny(_file(models / "bench.gguf", quick)):
            quick = True
            report.notes.append("a tiny file, whose speed says little: install gguf, or name a file by BENCH_GGUF")
        rt = _runtime(Path(folder), models)
        try:
            rounds = _rounds(rt, models / "bench.gguf", PROMPT, TOKENS, 2 if quick else 3)
            short = _rounds(rt, models / "bench.gguf", SHORT, 3, 4 if quick else 15)
            report.raw |= {"rounds": rounds, "short": short}
            _speeds(report, rounds, short)
            _stops(report, rt, quick)
        finally:
            rt.close()
    report.notes.append(
        f"{TOKENS} tokens after a prompt of {rounds[0]['prompt_tokens']:.0f}, first token of one of "
        f"{short[0]['prompt_tokens']:.0f} in {len(short)} rounds, {os.cpu_count()} cores, ctransformers"
    )


def _is_tiny(path: Path) -> bool:
    return path.stat().st_size < 50_000_000


def _file(path: Path, quick: bool) -> Path:
    """Of the shared tool, else of the tests' own tiny file."""
    given, tool = os.environ.get("BENCH_GGUF"), h.SHARED / "tools/make_tiny_gguf.py"
    if given:
        path.symlink_to(Path(given).resolve())
    elif tool.is_file() and importlib.util.find_spec("gguf"):
        shape = "tiny" if quick else "tinyllama"
        subprocess.run([sys.executable, str(tool), str(path), "--type", "Q4_0", "--shape", shape], check=True)
    else:
        from tests.fakes import tiny_gguf

        tiny_gguf.write(path)
    return path


def _runtime(folder: Path, models: Path) -> Any:
    from webapp import runtime, settings
    from webapp.core import migrate

    rt = runtime.build(settings.load({"BRAINSTEM_HOME": str(folder / "home"), "BRAINSTEM_MODELS_DIR": str(models),
                                      "BRAINSTEM_MODEL_LIBRARY": "ctransformers"}))  # fmt: skip
    migrate.upgrade(rt.engine)
    return rt


# -- speed -----------------------------------------------------------------------------------------------------------


def _rounds(rt: Any, path: Path, prompt: str, tokens: int, count: int) -> list[dict[str, float]]:
    """The order changes from round to round. Each prompt begins with other words, so that nothing of it is kept."""
    bare = Bare(rt, path)
    try:
        _product(rt, "warm", 3)
        found = []
        for number in range(count):
            words = f"{number} {prompt}"
            sides = [
                ("product", lambda w=words: _product(rt, w, tokens)),
                ("bare", lambda w=words: bare.run(w, tokens)),
            ]
            one: dict[str, float] = {}
            for name, work in sides if number % 2 else reversed(sides):
                one |= {f"{name}_{key}": value for key, value in work().items()}  # type: ignore[no-untyped-call]
            found.append(one | {"prompt_tokens": one["product_prompt"]})
        return found
    finally:
        bare.close()


def _product(rt: Any, words: str, tokens: int) -> dict[str, float]:
    """What a caller sees: from the call to the first text, and from there to the end."""
    from webapp.engines import service

    times: list[float] = []
    began = time.perf_counter()
    done = service.generate(
        rt, "ggml:bench.gguf", _request(words, tokens), on_text=lambda text: times.append(time.perf_counter())
    )
    ended = time.perf_counter()
    return {
        "first": times[0] - began,
        "rate": ((done.completion_tokens or 0) - 1) / (ended - times[0]),
        "prompt": float(done.prompt_tokens or 0),
    }


def _request(words: str, tokens: int = TOKENS) -> Any:
    from webapp.engines.base import Request

    return Request(({"role": "user", "content": words},), max_tokens=tokens, temperature=0.0, seed=1)


class Bare:
    """The library in a process of its own with nothing around it; the parent only starts each run."""

    def __init__(self, rt: Any, path: Path) -> None:
        from webapp.engines import local

        self.arguments = [str(path), str(local.threads_for(rt)), "2048"]
        self.process = subprocess.Popen([sys.executable, "-c", LOOP, *self.arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(h.ROOT)})  # fmt: skip
        assert self._line() == "ready"

    def run(self, words: str, tokens: int) -> dict[str, float]:
        import json

        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([words, tokens]) + "\n")
        self.process.stdin.flush()
        found: dict[str, float] = json.loads(self._line())
        return found

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


# Tokens of the prompt are made as the product makes them; from there on it is the library alone.
LOOP = """
import json, sys, time
from ctransformers import LLM, Config
from webapp.engines.ggml_child import Model
path, threads, context = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = Model(path, threads, context)
llm = model.llm
print("ready", flush=True)
for line in sys.stdin:
    words, tokens = json.loads(line)
    ids = model._prompt([{"role": "user", "content": words}])
    began = time.perf_counter()
    llm.eval(list(llm.prepare_inputs_for_generation(ids, reset=True)))
    first = None
    for count in range(tokens):
        token = llm.sample(temperature=0.0, top_k=1, top_p=0.95, seed=1)
        llm.detokenize([token], decode=False)
        first = first or time.perf_counter()
        if llm.is_eos_token(token):
            break
        llm.eval([token])
    print(json.dumps({"first": first - began, "rate": count / (time.perf_counter() - first)}), flush=True)
"""


def _speeds(report: Report, rounds: list[dict[str, float]], short: list[dict[str, float]]) -> None:
    ratio = h.median(one["product_rate"] / one["bare_rate"] for one in rounds)
    product, bare = (h.median(one[f"{side}_rate"] for one in rounds) for side in ("product", "bare"))
    report.add("tokens a second", f"{product:.1f}", f"bare loop {bare:.1f}", f"{ratio:.3f}", ">= 0.95", ratio >= 0.95)
    _first(report, "first token", short, 0.05)
    _first(report, "  after the longer prompt", rounds)


def _first(report: Report, name: str, rounds: list[dict[str, float]], most: float | None = None) -> None:
    """How long after the bare loop's the product's first token comes: median of the pairs; `most` in seconds."""
    later = h.median(one["product_first"] - one["bare_first"] for one in rounds)
    product, bare = (h.median(one[f"{side}_first"] for one in rounds) for side in ("product", "bare"))
    report.add(name, f"{1000 * product:.0f} ms", f"bare loop {1000 * bare:.0f} ms", f"{1000 * later:+.0f} ms",
               f"<= +{1000 * most:.0f} ms" if most else "", later <= most if most else None)  # fmt: skip


# -- stopping --------------------------------------------------------------------------------------------------------


def _stops(report: Report, rt: Any, quick: bool) -> None:
    """Cancelled in the middle of reading a prompt of about 1,000 tokens, at several moments; and while writing."""
    from webapp.engines import service

    words = "stop " + "the of and to in is that for it as " * (10 if quick else 100)
    [count] = service.engine(rt, "ggml:bench.gguf").count([words])
    took = [_stop(rt, f"{number} {words}", 0.05 if quick else 1.0 + number) for number in range(2 if quick else 5)]
    report.add(
        f"cancel while reading {count:,} tokens, slowest", f"{max(took):.2f} s", goal="<= 2 s", ok=max(took) <= 2.0
    )


def _stop(rt: Any, words: str, after: float) -> float:
    """Seconds from the cancel to the end of the call."""
    from webapp.engines import service

    began = time.perf_counter()
    service.generate(rt, "ggml:bench.gguf", _request(words), cancelled=lambda: time.perf_counter() - began > after)
    return max(0.0, time.perf_counter() - began - after)
