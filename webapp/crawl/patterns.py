"""Include and exclude patterns of a crawl, matched in linear time whatever somebody writes.

A pattern is a glob over the address without its scheme: `*` stands for anything but `/`, `**` for anything, `?` for
one character. `/docs/**` is about the path, `docs.example.org/**` about host and path. With `re:` before it, it is a
regular expression searched in the whole address, run by RE2, which has no backtracking to be lured into.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from webapp.core.errors import BadRequest

MAX_PATTERNS, MAX_LENGTH = 50, 500


class Scope:
    """What a crawl may visit: something of `include` (all, when empty) and nothing of `exclude`."""

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        """Raises BadRequest for a pattern that is none."""
        self.include = [matcher(pattern) for pattern in include]
        self.exclude = [(pattern, matcher(pattern)) for pattern in exclude]

    def refuses(self, url: str) -> str | None:
        """None when `url` is wanted, else a sentence that says which rule is against it."""
        for pattern, matches in self.exclude:
            if matches(url):
                return f"left out by {pattern}"
        if self.include and not any(matches(url) for matches in self.include):
            return "matches none of the patterns to include"
        return None


def matcher(pattern: str) -> Callable[[str], bool]:
    """A function url -> bool. Raises BadRequest."""
    text = pattern.strip()
    if not text or len(text) > MAX_LENGTH:
        raise BadRequest(f"patterns have 1 to {MAX_LENGTH} characters")
    if text.startswith("re:"):
        return _expression(text[3:], pattern)
    about_path = text.startswith("/")
    search = _expression(_glob(text.removeprefix("https://").removeprefix("http://")), pattern)
    return lambda url: search(_without_scheme(url, about_path))


def _without_scheme(url: str, about_path: bool) -> str:
    rest = url.partition("://")[2]
    return rest[rest.find("/") :] if about_path else rest


def _glob(text: str) -> str:
    """A regular expression for the whole text. A pattern without any `*` stands for everything below it too."""
    parts = re.split(r"(\*\*|\*|\?)", text)
    said = {"**": ".*", "*": "[^/?]*", "?": "."}
    body = "".join(said.get(part) or re.escape(part) for part in parts)
    tail = "(?:[/?].*)?" if len(parts) == 1 and not text.endswith("/") else ".*" if len(parts) == 1 else ""
    return f"^{body}{tail}$"


def _expression(expression: str, pattern: str) -> Callable[[str], bool]:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 2**20  # an expression that would need more is refused when it is compiled
    try:
        compiled = re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise BadRequest(f"the pattern {pattern[:100]} is not usable: {reason[:200]}") from None
    return lambda text: compiled.search(text) is not None
