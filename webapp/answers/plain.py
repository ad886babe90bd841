"""Foreign text made harmless before a person or a model reads it: no pictures, no hidden characters, no marks of ours.

What sources say is shown as words. A picture would call its server, a footnote `[3]` would look like a citation of the
answer, and characters without a shape can hide instructions or turn the reading direction.
"""

from __future__ import annotations

import re
import unicodedata

LONGEST_URL = 2000
# Zero width, bidirectional controls, variation selectors of their own plane, tags: nothing that prose needs. The joiner
# and non-joiner (200c, 200d) stay: Persian, Indic scripts and emoji are written with them.
HIDDEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff"
    "\uffa0\ufff0-\ufffb\ue000-\uf8ff\U000e0000-\U000e0fff\U000f0000-\U0010ffff]"
)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
PICTURE = re.compile(r"!\[([^\[\]]{0,500})\](?:\([^()]{0,2000}(?:\([^()]{0,500}\)[^()]{0,500})?\)|\[[^\[\]]{0,200}\])?")
LINK = re.compile(
    r"(?<!!)\[([^\[\]]{0,500})\](?:\([^()]{0,2000}(?:\([^()]{0,500}\)[^()]{0,500})?\)|\[[^\[\]]{0,200}\])"
)
DEFINITION = re.compile(r"^[ ]{0,3}\[[^\[\]]{1,200}\]:[ \t]*\S{1,2000}.*$", re.M)
TAG = re.compile(r"<(?:!--.{0,2000}?-->|/?[A-Za-z][^<>]{0,2000}>|[a-z][a-z0-9+.-]{1,30}:[^\s<>]{0,2000}>)", re.S)
BREAK = re.compile(r"</?(?:br|p|div|li|td|th|tr|h\d)\b", re.I)
ENTITY = re.compile(r"&(?=#?\w{1,30};)")
FOOTNOTE = re.compile(r"\[(?:\d{1,4}|[a-z]|note \d{1,3}|citation needed|nb \d{1,3})\]")
EMPHASIS = re.compile(r"(?<!\w)(\*{1,3}|_{1,3})(?=\S)(.{1,500}?)(?<=\S)\1(?!\w)")
STRONG = re.compile(r"\*{1,3}")
CODE = re.compile(r"`{1,3}")
ACTIVE = re.compile(r"([\\`*\[\]<]|(?<!\w)_|_(?!\w)|~(?=~))")


def visible(text: str) -> str:
    """The text without characters that cannot be seen; composed forms, so that words look like what they are."""
    return HIDDEN.sub("", CONTROL.sub(" ", unicodedata.normalize("NFC", text)))


def words(markdown: str) -> str:
    """A sentence of a stored document as one line of plain text; the cells of a table's row with dots between."""
    text = visible(markdown)
    text = PICTURE.sub(r"\1", text)
    text = LINK.sub(r"\1", text)
    text = TAG.sub(" ", text) if BREAK.search(text) else TAG.sub("", text)
    text = FOOTNOTE.sub("", text)
    text = STRONG.sub("", EMPHASIS.sub(r"\2", text))
    text = CODE.sub("", text)
    if text.lstrip().startswith("|"):
        text = " · ".join(cell for cell in (cell.strip() for cell in text.split("|")) if cell)
    return " ".join(text.split())


def escaped(text: str) -> str:
    """Plain text as Markdown that shows just these characters."""
    text = ENTITY.sub("&amp;", ACTIVE.sub(r"\\\1", text))
    return re.sub(r"^([#+>=-]|\d{1,9}(?=[.)]))", r"\\\1", text)


def visible_lines(text: str) -> str:
    """`visible`, with the line breaks and tabs kept."""
    return "\n".join("\t".join(visible(cell) for cell in line.split("\t")) for line in re.split(r"\r\n|\r|\n", text))
