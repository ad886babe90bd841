"""A text by a model: outline, sections one after the other, its words and keywords put right, every citation checked.

Each call of the model is a checkpoint. A length is met by what the later sections are asked for, then by passes that
extend or shorten one section, at last by leaving out whole sentences; what could not be met is said.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from webapp.answers import composing, marks, support
from webapp.answers.composing import Composer, framed
from webapp.answers.prompt import framed_source
from webapp.core.errors import Invalid
from webapp.core.sentences import split
from webapp.core.streams import Writer
from webapp.writing import counting, material, planning
from webapp.writing.params import USUAL

if TYPE_CHECKING:
    from webapp.answers.base import OnText, Source
    from webapp.tasks.run import TaskRun
    from webapp.writing.material import Scope

PASSES = 6  # calls that may put a length right
TRIES = 3  # of a short text, of which the one nearest to its length is kept
MOST_KEYWORDS = 6  # that one section is asked to take in afterwards
BEFORE = 90  # words of the section before that are shown
SYSTEM = (
    "You write a {label} in a {tone} tone. {manner} Write plain Markdown paragraphs; a list only where it helps. No "
    "headings, no pictures, no remarks about the text or about yourself.{more}"
)
GROUNDED = (
    " State facts only from the numbered sources; behind each sentence that states one write its number in square "
    "brackets, like [1]. Use only numbers that are there. "
) + composing.DATA
BRIEFLY = "Write plain prose, {tone} in tone.{more}"
HEAD = "#"
SHARES = (1.0, 0.5, 0.0)  # of the room for sources


@dataclass
class Section:
    """target: words. sources: rows of Source that it was shown, numbered from 1; the numbers in `text` are theirs."""

    heading: str
    brief: str
    target: int
    sources: list[dict[str, Any]]
    text: str = ""

    @property
    def words(self) -> int:
        return counting.words(self.text) + counting.words(self.heading)


class Draft:
    def __init__(self, task: TaskRun, model: Composer, where: Scope | None) -> None:
        self.task, self.model, self.where, self.params = task, model, where, task.params
        self.length: int = task.params["length"]
        self.notes: list[str] = []
        self.sections: list[Section] = []
        self.live = _Live(task)

    def write(self) -> dict[str, Any]:
        """{title, outline, sections, notes}: the sections checked, with the sources they were shown."""
        outline = self._outline()
        self._sections(outline)
        self._keywords()
        self._length()
        return {"title": outline["title"], "by": outline["by"], "checked": [self._checked(n) for n in range(len(self.sections))],
                "sections": self.sections, "notes": self.notes}  # fmt: skip

    # -- outline -------------------------------------------------------------------------------------------------

    def _outline(self) -> dict[str, Any]:
        outline: dict[str, Any] = self.task.once("outline", self._planned)
        if outline["by"] == "rules":
            self.notes.append(
                "The model wrote no outline that could be used; the usual one for this sort of text was taken."
            )
        headings = [one["heading"] or one["brief"] for one in outline["sections"]]
        self.task.progress(15, f"Outline of {len(headings)} section{'' if len(headings) == 1 else 's'}: {outline['title']}",
                           data={"title": outline["title"], "outline": headings})  # fmt: skip
        return outline

    def _planned(self) -> dict[str, Any]:
        sections = planning.count(self.params, self._words_a_call)
        system, asked = planning.request(self.params, sections)
        found = self._passages(self.params["topic"]) if self.where else []
        shown, _ = self._shown(found, self.model.room(system, asked, 40 * sections))
        known = [self.params["topic"], self.params.get("instructions") or ""]
        try:
            text = self.model.write(system, f"{shown}\n\n{asked}".strip(), 40 * sections, known=known,
                                    on_text=self.live.telling(12, "Planning the outline"))  # fmt: skip
        except Invalid as error:
            if not composing.overflowed(error):
                raise
            text = ""  # a window too small for a plan; a section may still fit
        self.task.check()
        return planning.parsed(text, self.params, sections) or planning.by_rules(self.params, sections)

    @property
    def _words_a_call(self) -> int:
        return int((self.model.window // 3 - 32) / composing.TOKENS_A_WORD)

    # -- sections ------------------------------------------------------------------------------------------------

    def _sections(self, outline: dict[str, Any]) -> None:
        rows = outline["sections"]
        share = self.length / len(rows)
        for number, row in enumerate(rows):
            left = self.length - sum(one.words for one in self.sections)
            target = round(max(0.5 * share, min(1.6 * share, left / (len(rows) - number))))
            sources = self.task.once(f"sources {number}", partial(self._for_section, row)) if self.where else []
            section = Section(row["heading"], row["brief"], target, sources)
            section.text = self._written(number, section, outline)
            self.sections.append(section)
            self.live.done([asdict(one) | {"words": one.words} for one in self.sections])

    def _for_section(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        return self._passages(
            f"{self.params['topic']}: {row['question']}"[:1000], row["question"], self.params["topic"]
        )

    def _passages(self, *queries: str) -> list[dict[str, Any]]:
        return material.passages(self.task, self.where, *(one for one in queries if one)) if self.where else []

    def _written(self, number: int, section: Section, outline: dict[str, Any]) -> str:
        total = len(outline["sections"])
        at = 15 + 65 * number / total
        what = f"Writing {number + 1} of {total}: {section.heading or outline['title']}"
        asked = self._asked(number, section, outline)
        best = ""
        for attempt in range(TRIES if total == 1 else 1):
            made = str(
                self.task.once(
                    f"section {number}.{attempt}", partial(self._call, asked, section, section.target, at, what)
                )
            )
            if not best or abs(counting.words(made) - section.target) < abs(counting.words(best) - section.target):
                best = made
            if counting.is_within(counting.words(best), section.target):
                break
        return best

    def _asked(self, number: int, section: Section, outline: dict[str, Any]) -> str:
        """The question for one section: the plan, how the text goes so far, what is to be written now."""
        words = max(10, section.target - counting.words(section.heading))
        missing = counting.missing(self.params["keywords"], [one.text for one in self.sections])
        parts = [f"Title: {outline['title']}", planning.brief(self.params)]
        if len(outline["sections"]) == 1:
            now = f"Write the whole text now: {section.brief}"
        else:
            rows = [f"{place}. {one['heading']}" for place, one in enumerate(outline["sections"], 1)]
            parts.append("Sections:\n" + "\n".join(rows))
            if self.sections:
                end = " ".join(counting.readable(self.sections[-1].text).split()[-BEFORE:])
                parts.append(f"The section before ends:\n{framed([('', end)], 'before')}")
            now = f"Write section {number + 1} now, “{section.heading}”: {section.brief}"
        now += f"\nWrite about {words} words, at least {round(words * 0.92)} and at most {round(words * 1.08)}."
        if missing:
            now += f" Use these words in it where they fit: {', '.join(missing[: 2 * MOST_KEYWORDS])}."
        return "\n\n".join([*parts, now])

    def _call(self, asked: str, section: Section, words: int, percent: float, what: str) -> str:
        """One text by the model with the section's sources before the question; in a small window with fewer of them."""
        system = self._system(bool(section.sources))
        room = self.model.room(system, asked, words)
        if room < 0:
            system, asked = self._system(False, short=True), asked.rpartition("\n\n")[2]
            room = self.model.room(system, asked, words)
        text, known = self._generated(system, asked, section, words, room, self.live.telling(percent, what))
        self.task.check()  # what was cut short by a stop is not kept
        return marks.settled(_body(text, section.heading), frozenset(one.number for one in known)).strip()

    def _generated(
        self, system: str, asked: str, section: Section, words: int, room: int, on_text: OnText
    ) -> tuple[str, list[Source]]:
        """Asked once more with fewer sources when a server says that its window is smaller than was guessed."""
        for share in SHARES:
            shown, known = self._shown(section.sources, int(room * share))
            said = [self.params["topic"], self.params.get("instructions") or "", *(one.url or "" for one in known)]
            try:
                return self.model.write(system, f"{shown}\n\n{asked}".strip(), words, known=said, temperature=0.5,
                                        on_text=on_text), known  # fmt: skip
            except Invalid as error:
                if not composing.overflowed(error) or share == SHARES[-1]:
                    raise
        raise AssertionError("the last prompt was neither answered nor refused")

    def _system(self, grounded: bool, short: bool = False) -> str:
        more = "".join(f" {name} {value}." for name, value in (("The readers are", self.params.get("audience")),
                                                               ("Write in", self.params.get("language"))) if value)  # fmt: skip
        usual = USUAL[self.params["content_type"]]
        form = BRIEFLY if short else SYSTEM
        said = form.format(
            label=usual.label.lower(), tone=self.params["tone"] or "plain", manner=usual.manner, more=more
        )
        return said + (GROUNDED if grounded else "")

    def _shown(self, rows: Sequence[dict[str, Any]], room: int) -> tuple[str, list[Source]]:
        """As many sources, best first, as fit into so many tokens."""
        found, texts = material.sources(rows), []
        if not found:
            return "", []
        nonce = secrets.token_hex(3)
        framed_ = [framed_source(one, nonce) for one in found]
        for text, cost in zip(framed_, self.model.engine.count(framed_), strict=True):
            room -= cost
            if room < 0:
                break
            texts.append(text)
        return "\n".join(texts), found[: len(texts)]

    # -- keywords and length --------------------------------------------------------------------------------------

    def _keywords(self) -> None:
        """One pass for words that were not used: the section that is nearest to its length takes them in, or it stays."""
        missing = counting.missing(self.params["keywords"], [one.text for one in self.sections])
        if not missing:
            return
        self.task.progress(81, f"Taking in {len(missing)} keyword{'' if len(missing) == 1 else 's'}")
        number = min(range(len(self.sections)), key=lambda n: self.sections[n].words - self.sections[n].target)
        section = self.sections[number]
        asked = (f"{framed([('', section.text)], 'draft')}\n\nRevise this section so that it uses these words: "
                 f"{', '.join(missing[:MOST_KEYWORDS])}. Change as little as possible, keep the numbers in square brackets and "
                 f"the length of about {counting.words(section.text)} words. Write only the section.")  # fmt: skip
        made = self.task.once("keywords", partial(self._revised, asked, section, 81.0, "Taking in keywords"))
        left = counting.missing(missing, [made])
        if len(left) < len(missing) and abs(counting.words(made) - counting.words(section.text)) <= max(
            15, 0.2 * section.words
        ):
            section.text = made

    def _revised(self, asked: str, section: Section, percent: float, what: str) -> str:
        return self._call(asked, section, max(30, round(1.2 * section.words)), percent, what)

    def _length(self) -> None:
        """Extend or shorten one section after the other until the whole is within the limits, or nothing helps."""
        stuck: set[int] = set()
        for attempt in range(PASSES):
            off = self.length - self._total()
            left = [n for n in range(len(self.sections)) if n not in stuck]
            if counting.is_within(self._total(), self.length) or not left:
                break
            number = max(
                left, key=lambda n: (self.sections[n].target - self.sections[n].words) * (1 if off > 0 else -1)
            )
            section = self.sections[number]
            before = section.words
            self.task.progress(
                83 + attempt, f"{'Extending' if off > 0 else 'Shortening'} the text by {abs(off):,} words"
            )
            made = self.task.once(f"length {attempt}", partial(self._resized, section, off))
            changed = Section(section.heading, section.brief, section.target, section.sources, made)
            better = abs(off - (changed.words - before)) < abs(off)
            if better:
                section.text = made
            if not better or abs(changed.words - before) < 0.2 * abs(off):
                stuck.add(number)
        if self._total() > (1 + counting.WITHIN) * self.length:
            shorten(self.sections, self.length)
        if not counting.is_within(self._total(), self.length):
            self.notes.append(f"The model wrote {self._total():,} words where {self.length:,} were asked for; asking it again did "
                              "not bring it within 10 %.")  # fmt: skip

    def _resized(self, section: Section, off: int) -> str:
        draft = framed([("", section.text)], "draft")
        if off > 0:
            more = min(off, self._words_a_call)
            asked = (f"{planning.brief(self.params)}\n\nThe section “{section.heading}” so far:\n{draft}\n\nContinue it with about "
                     f"{more} more words. Say something new, repeat nothing. Write only what comes after it.")  # fmt: skip
            made = self._call(asked, section, round(1.2 * more), 84, "Extending the text")
            there = "\n\n".join(one.text for one in self.sections)
            return section.text if said_already(made, there) else f"{section.text}\n\n{made}".strip()
        fewer = max(10, counting.words(section.text) + off)
        asked = (f"{draft}\n\nShorten this section to about {fewer} words. Keep what matters most and the numbers in square "
                 "brackets. Write only the section.")  # fmt: skip
        return self._call(asked, section, fewer, 84, "Shortening the text")

    def _total(self) -> int:
        return sum(one.words for one in self.sections)

    # -- checking ------------------------------------------------------------------------------------------------

    def _checked(self, number: int) -> dict[str, Any]:
        """The section's text with its marks put right, its sentences and the sources they stand on, as JSON."""
        self.task.progress(90 + 5 * number / len(self.sections), "Checking each sentence against its sources")
        return self.task.once(f"checked {number}", partial(self._check, self.sections[number]))  # type: ignore[no-any-return]

    def _check(self, section: Section) -> dict[str, Any]:
        if not section.sources:
            return {"text": section.text, "sentences": [], "sources": []}
        made = support.check(self.task.rt, section.text, material.sources(section.sources))
        return {"text": made.text, "sentences": [one.as_json() for one in made.sentences],
                "sources": [asdict(one) for one in made.sources]}  # fmt: skip


# -- texts -------------------------------------------------------------------------------------------------------------


def _body(text: str, heading: str) -> str:
    """Without a heading of its own; further headings become lesser ones."""
    lines = text.strip().splitlines()
    while lines and (not lines[0].strip() or lines[0].lstrip().startswith(HEAD) or _same(lines[0], heading)):
        lines.pop(0)
    return "\n".join(f"### {line.lstrip('# ').strip()}" if line.startswith(HEAD) else line for line in lines).strip()


def _same(line: str, heading: str) -> bool:
    bare = line.strip(" *_#:“”\"'0123456789.)").casefold()
    return bool(heading) and bare == heading.strip(" :").casefold()


def said_already(new: str, old: str) -> bool:
    """Whether a continuation only says again what stands there."""
    said = {_bare(old[one.start : one.end]) for one in split(old)}
    return all(_bare(new[one.start : one.end]) in said for one in split(new))


def _bare(sentence: str) -> str:
    return " ".join(re.findall(r"\w+", counting.readable(sentence).casefold()))


def shorten(sections: Sequence[Section], length: int) -> None:
    """Leave whole sentences out, from the ends of the sections that are most too long, as long as that helps."""
    while True:
        over = sum(one.words for one in sections) - length
        rows = sorted(sections, key=lambda one: one.target - one.words)
        if over <= counting.WITHIN * length or not any(_without_last(one, over, length) for one in rows):
            return


def _without_last(section: Section, over: int, length: int) -> bool:
    """Take its last sentence away, unless it is the only one or the text would then be too short."""
    spans = split(section.text)
    if len(spans) < 2:
        return False
    kept = section.text[: spans[-2].end]
    lost = counting.words(section.text) - counting.words(kept)
    if lost - over > counting.WITHIN * length:
        return False
    section.text = kept.rstrip()
    return True


class _Live:
    """What a reader sees meanwhile: the text that is being written, and every two seconds how much of it."""

    def __init__(self, task: TaskRun) -> None:
        self.task = task
        self.writer = Writer(task.rt.streams, task.id, task.fence, ring=self._ring, note=lambda _: task.check())

    def telling(self, percent: float, what: str) -> Callable[[str], None]:
        self.task.progress(percent, what)
        self.writer.start_again()
        said, told = 0, time.monotonic()

        def on_text(piece: str) -> None:
            nonlocal said, told
            self.writer.write(piece)
            said += len(piece.split())
            if time.monotonic() - told >= 2.0:
                told = time.monotonic()
                self.task.progress(percent, f"{what} ({said:,} words so far)")

        return on_text

    def done(self, sections: list[dict[str, Any]]) -> None:
        self.writer.start_again()
        last = sections[-1]
        self.task.progress(0, f"Section {len(sections)} written: {last['words']:,} words",
                           data={"section": len(sections), "words": last["words"]})  # fmt: skip

    def _ring(self, length: int) -> None:
        self.task.rt.ring("text", self.task.id, length, self.task.owner_id)
