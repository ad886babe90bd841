"""What of a model's Markdown may stay: no pictures, no raw HTML, no hidden characters, no address of its own making.

A picture calls its server as soon as it is shown, and a made-up address can carry away what the model was shown. So a
link stays only if its address stands in what the model was given to read. The same holds for a text that is still
being written: `Stream` keeps a construct back until its end is known.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable

from webapp.answers import marks, plain

Allowed = Collection[str] | None  # addresses that may stay; None: all of them

ADDRESS = re.compile(
    r"(?:https?|ftp|wss?|mailto|data|javascript|vbscript|file):[^\s<>()\[\]\"'`]{1,2000}"
    r"|(?<![\w.])(?:www\.|//)[^\s<>()\[\]\"'`/]{3,300}[^\s<>()\[\]\"'`]{0,1700}",
    re.I,
)
OPEN_TAG = re.compile(r"<(?=[A-Za-z/!?])")
PICTURED = re.compile(r"!(?=\[)")  # one whose end was not found
DEFINING = re.compile(r"^([ ]{0,3}\[[^\[\]]{1,200}\]):", re.M)
REMOVED = "(link removed)"
HELD = 3000  # characters of a construct without an end, after which it is none


def addresses(texts: Iterable[str]) -> set[str]:
    return {found[0].rstrip(".,;:!?") for text in texts for found in ADDRESS.finditer(text)}


def harmless(text: str, allowed: Allowed) -> str:
    """Code stays as it is: nothing in it is followed or fetched."""
    return marks.outside_code(plain.visible_lines(text), lambda part: _harmless(part, allowed))


def _harmless(text: str, allowed: Allowed) -> str:
    for _ in range(3):  # a picture within a link within a picture
        text, changed = plain.PICTURE.subn(r"\1", text)
        if not changed:
            break
    text = PICTURED.sub("! ", text)
    if allowed is not None:
        text = DEFINING.sub(r"\1 :", plain.DEFINITION.sub("", text))
        text = plain.LINK.sub(lambda found: found[0] if _known(found[0], allowed) else found[1], text)
        text = ADDRESS.sub(lambda found: found[0] if _known(found[0], allowed) else REMOVED, text)
    return OPEN_TAG.sub(r"\\<", text)


def _known(said: str, allowed: Collection[str]) -> bool:
    there = addresses([said])
    return bool(there) and all(one in allowed for one in there)


class Stream:
    """Takes pieces as they are written and hands on harmless ones; `close` hands on the rest."""

    def __init__(self, on_text: Callable[[str], None], allowed: Allowed, known: frozenset[int]) -> None:
        self._on_text, self._allowed, self._known = on_text, allowed, known
        self._held = ""

    def __call__(self, piece: str) -> None:
        self._held += piece
        cut = _settled(self._held)
        if cut == 0 and len(self._held) > HELD:
            self._held = re.sub(r"(?<!\\)([\[`])", r"\\\1", self._held)
            cut = len(self._held.rstrip("\\![<"))
        self._tell(cut)

    def close(self) -> None:
        self._tell(len(self._held))

    def _tell(self, cut: int) -> None:
        ready, self._held = self._held[:cut], self._held[cut:]
        if ready:
            self._on_text(marks.settled(harmless(ready, self._allowed), self._known))


BLANK = re.compile(r"\s(?=\S*\Z)")
OPENING = re.compile(r"!?\[|`+|~~~")


def _settled(text: str) -> int:
    """So many characters can be judged: up to the last blank (which may belong to a mark after it), and not into a bracket or code whose end is not there."""
    last = BLANK.search(text)
    limit = last.start() if last else 0
    at = 0
    while found := OPENING.search(text, at):
        if found.start() >= limit:
            break
        end = _end(text, found)
        if end is None or end >= len(text):
            return found.start()
        at = end
        if end > limit:
            return found.start()
    return limit


def _end(text: str, found: re.Match[str]) -> int | None:
    """Where the construct ends, or None while that cannot be said."""
    mark = found[0]
    if not mark.endswith("["):
        there, newline = text.find(mark, found.end()), text.find("\n", found.end())
        if len(mark) < 3 and newline >= 0 and (there < 0 or newline < there):
            return found.end()  # a lone backtick
        return there + len(mark) if there >= 0 else None
    end = _closing(text, found.end() - 1, "[", "]")
    if end is not None and text[end : end + 1] in ("(", "["):
        opener = text[end]
        return _closing(text, end, opener, ")" if opener == "(" else "]")
    return end


def _closing(text: str, at: int, opener: str, closer: str) -> int | None:
    depth = 0
    for place in range(at, min(len(text), at + HELD)):
        depth += (text[place] == opener) - (text[place] == closer)
        if depth == 0:
            return place + 1
    return None
