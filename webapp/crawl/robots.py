"""robots.txt by RFC 9309, with the readings of the big crawlers where the RFC is silent.

Parsing is by lines, memory-safe and linear. Beyond the RFC: `Crawl-delay` is honoured up to a cap; an `index.html`
rule also covers its folder; common misspellings count; user-agent names end at the first blank.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

MAX_BYTES = 500 * 1024  # RFC 9309 2.5: at least this much must be read; we read no more
MAX_LINE = 2083 * 8
MAX_RULES = 10_000
MAX_DELAY = 30.0  # seconds; a larger Crawl-delay is cut to this, with a note

AGENT_KEYS = ("user-agent", "useragent", "user agent")
DISALLOW_KEYS = ("disallow", "dissallow", "dissalow", "disalow", "diasllow", "disallaw")
SITEMAP_KEYS = ("sitemap", "site-map")
DELAY_KEYS = ("crawl-delay", "crawldelay")
TOKEN = re.compile("[A-Za-z_-]*")
ESCAPED = re.compile("%[0-9A-Fa-f]{2}")
BREAK = re.compile(rb"\r\n|\n|\r")


@dataclass
class _Group:
    agents: list[str] = field(default_factory=list)  # lower case; "*" is everybody
    rules: list[tuple[bool, str]] = field(default_factory=list)  # (allow, pattern)
    delay: float | None = None


@dataclass
class Robots:
    """A parsed robots.txt. `closed` and `open` stand for files that could not be had (RFC 9309 2.3.1)."""

    groups: list[_Group] = field(default_factory=list)
    sitemaps: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    closed: bool = False

    def rules_for(self, agent: str) -> Rules:
        return Rules(self, agent)

    def allowed(self, agent: str, url: str) -> bool:
        return self.rules_for(agent).allows(path_to_match(url))


class Rules:
    """What one robot may do: made once per host, asked for each address."""

    def __init__(self, robots: Robots, agent: str) -> None:
        self.closed = robots.closed
        name = agent.lower()
        mine = [group for group in robots.groups if name in group.agents]
        groups = mine or [group for group in robots.groups if "*" in group.agents]
        rules = [(allow, Pattern(text)) for group in groups for allow, text in _with_index(group.rules)]
        # The longest rule that fits decides; of two equally long ones, the one that allows.
        self.rules = sorted(rules, key=lambda rule: (-rule[1].length, not rule[0]))
        self.delay = next((group.delay for group in groups if group.delay is not None), None)

    def allows(self, path: str) -> bool:
        """path: with query, starting with "/"."""
        if self.closed:
            return False
        return next((allow for allow, pattern in self.rules if pattern.matches(path)), True)


class Pattern:
    """`*` is any run of characters, `$` at the end is the end. Greedy from the left, so linear without backtracking."""

    def __init__(self, text: str) -> None:
        self.length = len(text.encode("utf-8", "replace"))
        self.anchored = text.endswith("$")
        self.first, *self.rest = text.removesuffix("$").split("*")

    def matches(self, path: str) -> bool:
        if not path.startswith(self.first):
            return False
        at = len(self.first)
        if not self.rest:
            return not self.anchored or at == len(path)
        for part in self.rest[:-1]:
            if (found := path.find(part, at)) < 0:
                return False
            at = found + len(part)
        last = self.rest[-1]
        if self.anchored:
            return len(path) - len(last) >= at and path.endswith(last)
        return path.find(last, at) >= 0


def _with_index(rules: list[tuple[bool, str]]) -> list[tuple[bool, str]]:
    """A permission for /x/index.html is one for /x/ as well (as Google reads it)."""
    extra = [
        (True, text[: text.rfind("/") + 1] + "$")
        for allow, text in rules
        if allow and text[text.rfind("/") :].startswith("/index.htm")
    ]
    return rules + extra


def path_to_match(url: str) -> str:
    """Path and query of a URL as rules see them; "/" when there is none."""
    rest = url.partition("#")[0]
    if "//" in rest:
        rest = rest.partition("//")[2]
    starts = [at for at in (rest.find("/"), rest.find("?")) if at >= 0]
    path = rest[min(starts) :] if starts else ""
    return path if path.startswith("/") else "/" + path


# -- reading -------------------------------------------------------------------------------------------------------


def parse(body: bytes) -> Robots:
    """Never raises: what is not understood is no rule."""
    robots = Robots()
    if len(body) > MAX_BYTES:
        robots.notes.append("Only the first 500 KiB of robots.txt were read.")
    reader = _Reader(robots)
    for line in BREAK.split(_without_mark(body[:MAX_BYTES])):
        reader.line(line[:MAX_LINE].decode("utf-8", "replace"))
    return robots


def _without_mark(body: bytes) -> bytes:
    for mark in (b"\xef\xbb\xbf", b"\xef\xbb", b"\xef"):
        if body.startswith(mark):
            return body[len(mark) :]
    return body


class _Reader:
    """Groups are runs of user-agent lines with the rules behind them; other lines in between separate nothing."""

    def __init__(self, robots: Robots) -> None:
        self.robots = robots
        self.group: _Group | None = None
        self.separated = False
        self.count = 0

    def line(self, line: str) -> None:
        key, value = _key_value(line)
        if not key:
            return
        if key.startswith(AGENT_KEYS):
            self.agent(value)
        elif key.startswith("allow"):
            self.rule(True, value)
        elif key.startswith(DISALLOW_KEYS):
            self.rule(False, value)
        elif key.startswith(SITEMAP_KEYS):
            if value and len(self.robots.sitemaps) < 100:
                self.robots.sitemaps.append(value)
        elif key.startswith(DELAY_KEYS):
            self.delay(value)

    def agent(self, value: str) -> None:
        if self.group is None or self.separated:
            self.group = _Group()
            self.robots.groups.append(self.group)
            self.separated = False
        anybody = value.startswith("*") and (len(value) == 1 or value[1].isspace())
        token = TOKEN.match(value)
        self.group.agents.append("*" if anybody else token[0].lower() if token else "")

    def rule(self, allow: bool, value: str) -> None:
        if self.group is None:
            return
        self.separated = True
        self.count += 1
        if value and self.count <= MAX_RULES:
            self.group.rules.append((allow, _escaped(value)))
        elif self.count == MAX_RULES + 1:
            self.robots.notes.append(f"Only the first {MAX_RULES:,} rules of robots.txt were read.")

    def delay(self, value: str) -> None:
        if self.group is None or not re.fullmatch(r"\d{1,12}(?:\.\d{1,6})?", value):
            return
        if float(value) > MAX_DELAY:
            self.robots.notes.append(f"robots.txt asks for {value[:20]} s between requests; {MAX_DELAY:g} s are kept.")
        self.group.delay = min(float(value), MAX_DELAY)


def _key_value(line: str) -> tuple[str, str]:
    line = line.partition("#")[0].strip()
    key, colon, value = line.partition(":")
    if colon:
        return key.strip().lower(), value.strip()
    words = line.split()
    return (words[0].lower(), words[1]) if len(words) == 2 else ("", "")


def _escaped(pattern: str) -> str:
    """Escapes in upper case, and what is not ASCII escaped: as addresses are written."""
    pattern = ESCAPED.sub(lambda found: found[0].upper(), pattern)
    if pattern.isascii():
        return pattern
    return "".join(c if c.isascii() else "".join(f"%{b:02X}" for b in c.encode("utf-8", "replace")) for c in pattern)


def of_answer(status: int, body: bytes) -> Robots:
    """RFC 9309 2.3.1: there -> its rules; 4xx -> everything is allowed; 5xx (and 429) -> nothing is."""
    if 200 <= status < 300:
        return parse(body)
    if status == 429 or status >= 500:
        return Robots(closed=True, notes=[f"robots.txt answered {status}, so nothing of this host may be read now."])
    return Robots()


def unreachable(reason: str) -> Robots:
    return Robots(closed=True, notes=[f"robots.txt could not be read ({reason}), so nothing of this host may be."])
