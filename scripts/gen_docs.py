"""Write the documents that are made from the code: docs/settings.md, docs/licences.md and deploy/brainstem.env.example.

`--check` writes nothing and fails when a file is not what it would write.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import licences  # noqa: E402
from webapp.settings import OPTIONS, Option  # noqa: E402

WIDTH = 100

SETTINGS_HEAD = """\
# Settings

<!-- Made by `make docs` from OPTIONS in webapp/settings.py; `make check` fails when it is out of date. -->

A value is looked for in this order: flag of the command, environment, the file `brainstem.env` in `BRAINSTEM_HOME`,
default. `brainstem config` prints every setting with its value and where that came from.

- A misspelt `BRAINSTEM_...` name stops the start and names the nearest one.
- A secret may be read from a file: `SECRET_KEY_FILE=/run/secrets/key` instead of `SECRET_KEY`.
- `DATABASE_URL` and `REDIS_URL` are set together, or neither: they are the switch between the two modes.
- Lists are separated by commas.

| Name | Kind | Default | What it does |
| --- | --- | --- | --- |
"""

SETTINGS_TAIL = """
Read by commands, not settings of the program: `WEB_CONCURRENCY` (processes of `brainstem web`, default 2).
"""

ENV_HEAD = """\
# Brainstem: every setting with its default. Made by `make docs`; see docs/settings.md.
# Copy to BRAINSTEM_HOME/brainstem.env (read by itself), or hand it to systemd, compose or your shell.
# Take away the `#` only where you want something else.
"""


def main(args: list[str]) -> int:
    documents = {
        ROOT / "docs" / "settings.md": settings_page(),
        ROOT / "docs" / "licences.md": licences.page(),
        ROOT / "deploy" / "brainstem.env.example": env_example(),
    }
    for problem in (unfit := list(licences.problems())):
        print(problem, file=sys.stderr)
    stale = [path for path, text in documents.items() if not path.is_file() or path.read_text("utf-8") != text]
    if "--check" in args:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is out of date: run `make docs`", file=sys.stderr)
        return 1 if stale or unfit else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(documents[path], "utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    return 1 if unfit else 0


def settings_page() -> str:
    return SETTINGS_HEAD + "".join(row(option) for option in OPTIONS) + SETTINGS_TAIL


def row(option: Option) -> str:
    names = f"`{option.env[0]}`"
    if len(option.env) > 1:
        names += "<br>or " + ", ".join(f"`{name}`" for name in option.env[1:])
    default = f"`{shown(option.default)}`" if shown(option.default) else "(empty)"
    return f"| {names} | {kind(option)} | {default} | {option.help.replace('|', chr(92) + '|')} |\n"


def kind(option: Option) -> str:
    if option.secret:
        return "secret"
    names = {bool: "true or false", int: "number", float: "number", tuple: "list", Path: "folder"}
    return next((name for type_, name in names.items() if isinstance(option.default, type_)), "text")


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def env_example() -> str:
    return ENV_HEAD + "".join(
        f"\n{wrapped(option.help)}#{option.env[0]}={shown(option.default)}\n" for option in OPTIONS
    )


def wrapped(text: str) -> str:
    lines, line = [], "#"
    for word in text.split():
        if len(line) + len(word) + 1 > WIDTH:
            lines.append(line)
            line = "#"
        line += f" {word}"
    return "\n".join([*lines, line]) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
