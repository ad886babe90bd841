"""Rules about the source itself that no other tool holds."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, missing

CODE = sorted(
    [*(ROOT / "webapp").rglob("*.py"), *(ROOT / "actors").rglob("*.py"), *(ROOT / "migrations").rglob("*.py")]
)

# Longer than 450 lines, and why that is easier to read than two files.
LONG = {
    "webapp/core/http.py": "one gate: what is checked before a connect must be read beside the connect",
    "webapp/web/hub.py": "one object on fixed threads; its locks are only understood together",
    "webapp/identity/service.py": "all verbs of accounts, a few lines over",
    "webapp/web/auth.py": "all checks of a request's origin, a few lines over",
}
LIMIT = 450


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Every module a file imports, also inside functions; from a.b import c counts as a.b and a.b.c."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, node.lineno
            for alias in node.names:
                yield f"{node.module}.{alias.name}", node.lineno


def importers(modules: set[str], files: list[Path] | None = None) -> set[str]:
    return {
        name(path)
        for path in files or CODE
        for module, _ in imports(path)
        if any(module == one or module.startswith(one + ".") for one in modules)
    }


def test_the_import_contracts_hold() -> None:
    if not (ROOT / ".importlinter").is_file():
        pytest.skip(".importlinter is not written yet")
    program = shutil.which("lint-imports") or str(Path(sys.executable).with_name("lint-imports"))
    if not Path(program).is_file():
        missing("import-linter")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


def test_the_application_never_imports_workers() -> None:
    files = [path for path in CODE if name(path).startswith("webapp/")]
    assert importers({"actors"}, files) == set()


def test_one_way_out() -> None:
    """Design rule 19: only the gate speaks HTTP to others."""
    clients = {"requests", "urllib3", "httpx", "aiohttp", "urllib.request", "http.client", "websocket", "websockets",
               "ftplib", "smtplib", "xmlrpc"}  # fmt: skip
    # Mail is no HTTP, and goes to the one server that the operator names; nobody's address leads elsewhere.
    assert importers(clients) - {"webapp/core/http.py", "webapp/notifications/mail.py"} == set()


def test_one_file_knows_the_mode() -> None:
    """Who else asks which mode it is, or takes an implementation by name, makes a second place to change."""
    asks = {name(path) for path in CODE if re.search(r"\.distributed\b", path.read_text("utf-8"))}
    assert asks <= {"webapp/runtime.py"}
    concrete = {
        "webapp.core.bus.MemoryBus", "webapp.core.bus.RedisBus", "webapp.core.limits.MemoryLimits",
        "webapp.core.limits.RedisLimits", "webapp.core.broker.MemoryBroker", "webapp.core.broker.RedisBroker",
        "webapp.core.sender.RedisSender",
    }  # fmt: skip
    assert importers(concrete) == {"webapp/runtime.py"}


def test_redis_is_spoken_to_by_core_and_runtime_only() -> None:
    speakers = importers({"redis"})
    assert {one for one in speakers if not one.startswith("webapp/core/")} <= {"webapp/runtime.py"}


DANGEROUS_CALLS = {"eval", "exec", "compile", "__import__"}
DANGEROUS_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}


def test_no_code_from_data() -> None:
    """A27, A36, A50: nothing evaluates text, nothing unpickles."""
    found = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in DANGEROUS_CALLS:
                found.append(f"{name(path)}:{node.lineno} {node.func.id}")
            if isinstance(node, ast.Call) and any(
                k.arg == "shell" and not (isinstance(k.value, ast.Constant) and k.value.value is False)
                for k in node.keywords
            ):
                found.append(f"{name(path)}:{node.lineno} shell")
            if isinstance(node, ast.Attribute) and ast.unparse(node) in (
                "os.system",
                "os.popen",
                "yaml.load",
                "yaml.unsafe_load",
            ):
                found.append(f"{name(path)}:{node.lineno} {ast.unparse(node)}")
    assert found == []
    assert importers(DANGEROUS_MODULES) == set()


# Formatting of texts that are no constants of ours by name, and why that is no template from data.
FORMATS = {
    "webapp/extraction/detect.py": "puremagic's from_string looks at bytes",
    "webapp/engines/prompts.py": "a model file's chat template, in jinja's sandbox and with time to live",
    "webapp/research/planning.py": "walks over a constant",
    "webapp/summaries/written.py": "one of two constants",
    "webapp/writing/drafting.py": "one of two constants",
    "webapp/writing/planning.py": "walks over a constant",
    "webapp/operations/cli.py": "an argument that our own commands pass",
}


def test_no_templates_from_data() -> None:
    """A36: text of users is filled by path look-ups (core/lookup.py), never by format, % with names, or a template engine."""
    found = {}
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            on = node.func.value if isinstance(node.func, ast.Attribute) else None
            ours = isinstance(on, ast.Constant) or (isinstance(on, ast.Call) and ast.unparse(on.func) == "Markup")
            ours = (
                ours
                or (isinstance(on, ast.Name) and on.id.isupper())
                or (isinstance(on, ast.Attribute) and on.attr.isupper())
            )
            engine = called in ("from_string", "render_template_string", "Template", "format_map")
            if engine or (called == "format" and on is not None and not ours):
                found[name(path)] = f"{node.lineno} {ast.unparse(node)[:60]}"
    assert set(found) == set(FORMATS), {path: said for path, said in found.items() if path not in FORMATS}


def test_templates_escape() -> None:
    """`|safe` and Markup only where a line says who made the text safe."""
    found = []
    for path in (ROOT / "templates").rglob("*.html"):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if re.search(r"\|\s*safe\b|autoescape\s+false", line) and "safe:" not in line:
                found.append(f"{name(path)}:{number}")
    assert found == []


# Links to addresses in data that need no look at their scheme in the same line.
LINKED = {
    "notifications/_list.html": "paths of our own", "search/_hit.html": "behind one.host, which only the web has",
    "summaries/_result.html": "behind `web`, set some lines above",
}  # fmt: skip


def test_links_to_what_others_wrote_lead_to_the_web_only() -> None:
    """A17: `href="{{ x.url }}"` escapes quotes and lets `javascript:` through."""
    found = {}
    for path in (ROOT / "templates").rglob("*.html"):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            for link in re.finditer(r'href="\{\{\s*(\w+)\.url\s*\}\}', line):
                if f"{link[1]}.url is web" not in line:
                    found[path.relative_to(ROOT / "templates").as_posix()] = f"{number} {link[0]}"
    assert set(found) == set(LINKED), found


def test_templates_hold_no_script_and_no_inline_style_of_their_own() -> None:
    """The policy of our pages allows neither (nonce only)."""
    found = []
    for path in (ROOT / "templates").rglob("*.html"):
        text = path.read_text("utf-8")
        for match in re.finditer(r"<script(?![^>]*\b(?:src|nonce)=)[^>]*>|\son\w+=\"|<style(?![^>]*nonce)", text):
            found.append(f"{name(path)}: {match.group(0)[:40]}")
    assert found == []


def test_files_stay_readable() -> None:
    sizes = {name(path): len(path.read_text("utf-8").splitlines()) for path in CODE}
    long = {path: lines for path, lines in sizes.items() if lines > LIMIT and path not in LONG}
    assert long == {}, "split it, or say in LONG why not"
    assert {path for path in LONG if sizes.get(path, 0) <= LIMIT} == set(), "no longer long: take the reason away"


def test_no_print_and_no_breakpoint_left() -> None:
    found = []
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in ("print", "breakpoint")
            ):
                found.append(f"{name(path)}:{node.lineno}")
    assert [one for one in found if not one.startswith("webapp/supervisor.py")] == []


@pytest.mark.parametrize("module", ["webapp.app", "webapp.cli"])
def test_nothing_heavy_is_loaded_to_serve_a_page(module: str) -> None:
    """Parsers and model libraries load on first use: start time, and memory of every process."""
    heavy = {
        "numpy",
        "lxml",
        "trafilatura",
        "pypdf",
        "docx",
        "bs4",
        "torch",
        "chromadb",
        "sentence_transformers",
        "alembic",
    }
    code = f"import sys, {module}; print(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ast.literal_eval(done.stdout) == []


def test_no_tracked_file_is_secret_or_huge() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    bad = [path for path in listed if re.search(r"\.(db|sqlite3?|key|pem|pyc|env|log)$|secret\.key", path)]
    assert bad == []
    huge = [path for path in listed if path and (ROOT / path).is_file() and (ROOT / path).stat().st_size > 1_500_000]
    assert huge == []
