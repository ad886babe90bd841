"""What in the wording of a question speaks for an agent: named signs, each with the words it was seen in.

The words are English first, with what is commonest in German, French, Spanish, Italian, Portuguese and Dutch. How much
a sign weighs, and for whom, is learned (`routing.json`); here is only what is looked for.
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple


class Sign(NamedTuple):
    """strength: 0..1. seen: the words of the question it stands for, "" for its shape."""

    strength: float
    seen: str = ""


def _words(*parts: str) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)(?:" + "|".join(parts) + r")(?!\w)", re.IGNORECASE)


def _first(*parts: str) -> re.Pattern[str]:
    return re.compile(r"^\W*(?:(?:please|bitte|and|so|also|can you|could you|i want you to|help me)\W+)*(?:" + "|".join(parts)
                      + r")(?!\w)", re.IGNORECASE)  # fmt: skip


# name -> (what a person reads, what is looked for)
WORDING: dict[str, tuple[str, re.Pattern[str]]] = {
    "compare": ("asks for a comparison", _words(
        "compar\\w+", "contrast\\w*", "differ\\w*", "versus", "vs\\.?", "against", "better", "safer", "cheaper", "riskier",
        "which of (?:the|these|those)(?: two)?", "worth it", "vergleich\\w*", "unterschied\\w*", "compara\\w+",
        "diff[eé]ren\\w+", "diferenc\\w+", "confront\\w+", "verschil\\w*")),
    "weigh": ("asks to weigh or judge", _words(
        "pros?(?: and)? cons?", "advantages?", "disadvantages?", "strengths?", "weak(?:nesses)?", "trade-?offs?", "weigh\\w*",
        "evaluat\\w+", "assess\\w*", "judg\\w+", "critiqu\\w+", "review (?:this|these|our|my)", "risks?", "implications?",
        "arguments?", "convinc\\w+", "reliable", "realistic", "stärken", "schwächen", "vor- und nachteile", "bewert\\w+",
        "contradict\\w*", "agree", "disagree", "sound", "justified", "for and against")),
    "analyse": ("asks for an analysis", _words(
        "analy[sz]\\w+", "analis\\w+", "interpret\\w*", "break down", "examin\\w+", "patterns?", "trends?", "causes?",
        "explained by", "what follows", "conclusions?", "common thread", "in common", "stands? out", "do the (?:figures|data)",
        "what changed", "look at (?:this|these)", "tell me (?:what|where)", "based on", "check (?:this|these|our)",
        "work out", "to what extent", "how (?:sound|strong|reliable|convincing|realistic|well)")),
    "research": ("asks for research", _words(
        "research\\w*", "investigat\\w*", "deep (?:dive|search)", "in-depth", "dossier", "survey", "literature", "state of the art",
        "background", "overview", "report on", "report about", "thesis", "systematic\\w*", "thorough\\w*", "exhaustive",
        "extensive", "everything", "all there is", "recherch\\w+", "pesquis\\w+", "ricerc\\w+", "onderzoek\\w*", "explore",
        "knowledge base", "investiga\\w+", "reading list", "case stud(?:y|ies)", "what (?:is|has been) (?:known|found|written|published|reported)")),
    "sources": ("asks for sources", _words(
        "sources?", "papers?", "studies", "study", "references?", "evidence", "citations?", "cite", "articles?", "findings?",
        "publications?", "material", "quellen", "fuentes", "fonti", "bronnen", "estudios", "studien", "études", "fontes",
        "with links", "post-mortems?", "benchmarks?", "independent tests?", "experience reports?")),
    "collect": ("asks to find and collect", _first(
        "find(?: out)?", "search\\w*", "look (?:up|into|for|around)", "gather", "collect", "compile", "dig\\w*", "track down", "trace",
        "bring together", "put together", "make a literature", "prepare a report", "scan", "such\\w*", "finde", "busca", "reúne",
        "trouve", "raccogli", "zoek", "explore", "learn about", "build up", "do (?:some|a|thorough)", "survey", "give me a thorough")),
    "recent": ("asks for the newest", _words(
        "latest", "recent\\w*", "new(?:est)? (?:finds?|figures|papers|research|studies)", "what's new", "currents?", "so far", "today",
        "neue[nrs]?", "aktuell\\w*", "reciente\\w*", "récent\\w*")),
    "fact": ("asks for one fact", _first(
        "who", "when", "where", "whose", "how (?:many|much|old|long|far|fast|hot|tall|big|deep|high|wide|often)", "what year",
        "in (?:what|which) \\w+", "at (?:what|which) \\w+", "within how many", "which \\w+ (?:is|was|are|were|do|does|did|has|built|live)",
        "what (?:is|are|was|were|does|do|did|port|happens?|makes|moderates|protects|language|hydration)", "how (?:is|do|does|are) (?:i |you |the |a )?\\w+",
        "wer", "wann", "wo", "wie (?:viel\\w*|lange|breit|tief|alt|hoch|groß|weit)", "welche[rsn]?", "in welche\\w+", "quand", "où",
        "qui", "combien", "de quelle", "cuándo", "cuánt\\w+", "quién", "dónde", "a qué", "quando", "quanto", "chi", "dove", "o que")),
    "define": ("asks what something means", _words(
        "what (?:is|are) (?:an?|the)(?! (?:advantages|differences|risks|trade|pros|real|strengths|weak|state|latest|implications|common|better))",
        "what is \\w+\\W*$", "definition", "defin\\w+", "mean(?:s|ing)?", "stands? for", "formula of", "was (?:ist|bedeutet|heißt)")),
    "own documents": ("asks what the documents say", _words(
        "according to", "our documents?", "in the (?:manual|handbook|minutes|contract|report)", "the (?:manual|handbook|report|contract) says?",
        "section \\d+", "the (?:library|project|board|server)")),
    "yes or no": ("is a yes-or-no question", _first(
        "is", "are", "was", "were", "does", "do", "did", "can", "has", "have", "must", "may", "ist", "sind", "darf", "kann", "est-ce que")),
    "why": ("asks for the reason", _first("why", "warum", "pourquoi", "por qué", "perché", "waarom", "how did", "how does", "how do")),
    "write": ("asks to write something", _words(
        "write (?:an?|me|the|css|something)", "write", "draft", "rewrite", "compose", "poem", "haiku", "limerick", "story", "letter", "mail", "email",
        "message", "joke", "slogan", "card", "names?", "caption", "toast", "song", "lullaby", "dialogue", "invent", "come up with",
        "schreib\\w*", "écri[st]\\w*", "escribe", "scrivi", "fable", "introduction", "invitation", "sign", "label", "quiz", "pun")),
    "edit": ("asks to change a text", _words(
        "translat\\w+", "übersetz\\w*", "tradui\\w+", "traduc\\w+", "shorter", "shorten", "longer", "simpler", "friendlier", "improve", "fix",
        "rephrase", "summari[sz]e the plot", "turn this", "convert", "say (?:it|that)", "grammar", "plain english", "another one",
        "explain \\w+ (?:to my|like|with)", "explain to my", "like i am five")),
    "ideas": ("asks for ideas or advice", _words(
        "suggest\\w*", "ideas?", "recommend\\w*", "brainstorm\\w*", "help me", "plan a", "what should", "should i", "what would you",
        "which \\w+ (?:would|should) (?:you|i)", "would you", "checklist", "packing list", "give me", "how (?:can|do) i (?:tell|talk)", "fun fact")),
    "talk": ("is small talk", _words(
        "hello", "hi", "hey", "thanks?", "thank you", "thx", "ok(?:ay)?", "lol", "haha", "good (?:morning|night|evening)", "bye", "danke\\w*",
        "merci", "gracias", "grazie", "olá", "hallo", "bonjour", "who are you", "are you", "can you (?:help|speak)", "never mind",
        "what can you do", "how are you", "i feel", "i am fed up", "cheer me up", "calm me", "let's", "role play")),
    "program": ("asks for code", _words(
        "function", "snippet", "script", "regex", "sql query", "query (?:that|with)", "alias", "python", "bash", "css", "formula", "commit message",
        "code", "program")),
    "me": ("is about the person", _words("my", "me", "i", "i'm", "we", "our", "us", "mich", "mir", "mein\\w*", "moi")),
}  # fmt: skip
SHAPE = {
    "question mark": "is a question",
    "links": "names addresses",
    "several links": "names several addresses",
    "code": "contains code",
    "numbers": "brings figures",
    "list": "brings a list",
    "or": "names alternatives",
    "two names": "sets two names side by side",
    "short": "is very short",
    "length": "is long",
    "no verb": "is only a few key words",
}
LABELS = {name: label for name, (label, _) in WORDING.items()} | SHAPE
NAMES = tuple(LABELS)

LINK = re.compile(r"https?://\S+", re.IGNORECASE)
CODE = re.compile(
    r"```|[{};]\s*$|\b\w{1,60}\([^()\n]{0,80}\)|\b\w{1,60} ?= ?\S|\bSELECT\b|=>|\bfn \w+|\bdef \w+", re.MULTILINE
)
NUMBER = re.compile(r"\d+(?:[.,]\d+)?")
EITHER = _words("or", "oder", "ou", "o", "of")
PAIR = re.compile(r"[A-Z]\w+ (?:and|und|et|y|e|en) (?:the )?[A-Z]\w+")
VERBS = re.compile(
    r"(?<!\w)(?:is|are|was|were|be|do|does|did|has|have|had|can|could|will|would|should|must|may|find|make|write|give|tell|"
    r"compare|research|look|collect|gather|want|need|ist|sind|hat|est|sont|es|son|\w{3,40}(?:ed|ing))(?!\w)", re.IGNORECASE,
)  # fmt: skip
LONGEST = 4000  # characters of a question that are looked at


def signs(question: str) -> dict[str, Sign]:
    """The signs of a question, those that are there only."""
    text = " ".join(question[:LONGEST].split())
    links = LINK.findall(text)
    plain = LINK.sub(" ", text)
    found = {
        name: Sign(1.0, match[0].strip(" \"'“”¿¡"))
        for name, (_, pattern) in WORDING.items()
        if (match := pattern.search(plain))
    }
    words = re.findall(r"\w+", plain)
    figures = NUMBER.findall(plain)
    shape = {
        "question mark": float("?" in plain[-3:]),
        "links": float(bool(links)),
        "several links": float(len(links) > 1),
        "code": float(bool(CODE.search(plain))),
        "numbers": min(1.0, len(figures) / 4) if len(figures) > 1 else 0.0,
        "list": float(plain.count(",") + plain.count(";") >= 3),
        "two names": float(bool(PAIR.search(plain))),
        "short": float(len(words) <= 3),
        "length": min(1.0, math.log1p(len(words)) / math.log(60)),
        "no verb": float(not VERBS.search(plain) and len(words) > 1),
    }
    if either := EITHER.search(plain):
        found["or"] = Sign(1.0, either[0])
    return found | {name: Sign(round(value, 3)) for name, value in shape.items() if value}
