"""Links and code carried through trafilatura as rare characters in the text. Runs in the child.

Asked to keep links itself, trafilatura judges pages differently and glues words together; of code it drops empty lines
and the language. The marks are ideograms of Linear B, which are printable and so survive.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from webapp.extraction import markdown

if TYPE_CHECKING:
    from lxml.html import HtmlElement

INLINE = ("b", "strong", "i", "em", "u", "s", "tt", "kbd", "samp", "var", "small", "big", "sub", "sup", "mark", "ins")
PERMANENT = ("#", "¶", "§", "🔗", "link")  # the texts of links that headings of manuals carry to themselves


class Marks:
    """A link is OPEN, its number in DIGITS, MID, its text, CLOSE. In code EMPTY stands in empty lines, LANGUAGE before
    the name of the language in the first."""

    OPEN, MID, CLOSE, EMPTY, LANGUAGE = "\U00010080", "\U00010081", "\U00010082", "\U0001008d", "\U0001008e"
    DIGITS = "".join(chr(0x10083 + digit) for digit in range(10))
    ANY = re.compile("[\U00010080-\U0001008e]")
    WHOLE = re.compile(f"{OPEN}([{DIGITS}]+){MID}([^{OPEN}{CLOSE}]*){CLOSE}")
    START = re.compile(f"{OPEN}[{DIGITS}]*{MID}?")
    INSIDE = ("a", "span", "br", "code", *INLINE)

    def __init__(self, base: str | None) -> None:
        self.base = base
        self.targets: list[str] = []

    # -- before ------------------------------------------------------------------------------------------------

    def mark(self, tree: HtmlElement) -> None:
        for block in list(tree.iter("pre")):
            self._code(block)
        for anchor in list(tree.iter("a")):
            self._anchor(anchor)

    def _anchor(self, anchor: HtmlElement) -> None:
        text = "".join(anchor.itertext()).strip()
        if (anchor.get("href") or "").startswith("#") and text.lower() in PERMANENT:
            anchor.drop_tree()
            return
        target = markdown.absolute(anchor.get("href"), self.base)
        if (
            not target
            or not text
            or any(isinstance(one.tag, str) and one.tag not in self.INSIDE for one in anchor.iter())
        ):
            return
        number = "".join(self.DIGITS[int(digit)] for digit in str(len(self.targets)))
        anchor.text = f"{self.OPEN}{number}{self.MID}{anchor.text or ''}"
        if len(anchor):
            anchor[-1].tail = (anchor[-1].tail or "") + self.CLOSE
        else:
            anchor.text += self.CLOSE
        self.targets.append(target)

    def _code(self, block: HtmlElement) -> None:
        """One text without inner elements (colours, line anchors); a single line stays as it is."""
        language = markdown.language_of(block)
        for line_break in block.iter("br"):
            line_break.tail = "\n" + (line_break.tail or "")
        text = "".join(block.itertext()).strip("\n").rstrip()
        if "\n" not in text:
            return
        lines = [line if line.strip() else self.EMPTY for line in text.split("\n")]
        for child in list(block):
            block.remove(child)
        block.text = None
        inner = block.makeelement("code")
        inner.text = "\n".join([f"{self.LANGUAGE}{language}" if language else self.LANGUAGE, *lines])
        block.append(inner)

    # -- after -------------------------------------------------------------------------------------------------

    def render(self, text: str) -> str:
        """Markdown. No links in headings, whose words serve as a path, nor in code; space around code."""
        lines: list[str] = []
        code = False
        for line in text.split("\n"):
            if line.startswith("```"):
                code = not code
                lines += ["", line] if code else [line, ""]
            elif code:
                lines.append(self._named(lines, line) if line.startswith(self.LANGUAGE) else self.plain(line))
            else:
                lines.append(self.plain(line if line.startswith("#") else self.WHOLE.sub(self._link, line)))
        return self.plain("\n".join(line for line in lines if line != self.LANGUAGE))

    def plain(self, text: str) -> str:
        return self.ANY.sub("", self.START.sub("", text))

    def share(self, text: str) -> float:
        """Characters inside links to all of the text, without the marks of lists and headings."""
        inside = sum(len(found[2]) for found in self.WHOLE.finditer(text))
        return inside / max(1, len(re.sub(r"^[-*#\d. ]+", "", self.plain(text), flags=re.MULTILINE).strip()))

    def _named(self, lines: list[str], line: str) -> str:
        """The language goes onto the fence; what is left of its line is dropped by `render`."""
        lines[-1] += self.plain(line).strip()
        return self.LANGUAGE

    def _link(self, found: re.Match[str]) -> str:
        number = int("".join(str(self.DIGITS.index(digit)) for digit in found[1]))
        text = found[2].strip()
        if not text or number >= len(self.targets):
            return found[2]
        before, after = found[2][: len(found[2]) - len(found[2].lstrip())], found[2][len(found[2].rstrip()) :]
        return before + markdown.link(text, self.targets[number]) + after
