"""What a text is asked for, and what is usual for each sort of text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from webapp.research.params import addresses, worded

ContentType = Literal["blog_post", "article", "report", "essay", "newsletter", "press_release", "landing_page",
                      "product_description", "email", "social_post", "speech"]  # fmt: skip
MOST_KEYWORDS, LONGEST_KEYWORD = 30, 80


@dataclass(frozen=True)
class Usual:
    """words: when no length is asked for. manner: for the model. parts: headings of an outline that no model made;
    {topic} stands in them. single: one piece without headings. ask: what the outline's parts want to know."""

    label: str
    words: int
    manner: str
    parts: tuple[tuple[str, str], ...]
    single: bool = False


WHAT, WHY = ("What is meant by {topic}?", "What speaks for {topic}, and what are its effects?")
HOW, WHEN = ("How does {topic} work?", "What is known about the origin and history of {topic}?")
AGAINST, NEXT = ("What speaks against {topic}, and what is disputed?", "What is advised about {topic}?")
USUAL: dict[str, Usual] = {
    "blog_post": Usual("Blog post", 800, "Open with something concrete, speak to the reader, end with what to do next.",
                       (("Why {topic} matters", WHY), ("What it is", WHAT), ("How it works", HOW),
                        ("What to watch out for", AGAINST), ("What to do next", NEXT))),
    "article": Usual("Article", 1000, "Begin with the most important thing, then explain and give the background.",
                     (("The essence", WHAT), ("How it came about", WHEN), ("How it works", HOW),
                      ("What follows from it", WHY), ("What is disputed", AGAINST))),
    "report": Usual("Report", 1200, "Sober and exact; say what is known, how, and what is open.",
                    (("Summary", WHAT), ("Background", WHEN), ("Findings", HOW), ("Effects", WHY),
                     ("Open questions and risks", AGAINST), ("Recommendations", NEXT))),
    "essay": Usual("Essay", 900, "Develop one thought; weigh what speaks against it.",
                   (("The question", WHAT), ("What speaks for it", WHY), ("What speaks against it", AGAINST),
                    ("What remains", NEXT))),
    "newsletter": Usual("Newsletter", 500, "Short paragraphs, one piece of news each, friendly.",
                        (("In short", WHAT), ("What is new", HOW), ("What it means for you", WHY), ("Coming up", NEXT))),
    "press_release": Usual("Press release", 400, "Who, what, when, where and why in the first paragraph; third person; "
                           "no praise.", (("The news", WHAT), ("Background", WHEN), ("What it means", WHY))),
    "landing_page": Usual("Landing page", 300, "Short lines, benefits before features, one thing to do at the end.",
                          (("What you get", WHY), ("How it works", HOW), ("Questions and answers", AGAINST),
                           ("Begin", NEXT))),
    "product_description": Usual("Product description", 150, "What it is, what it does for whom, what it is made of.",
                                 (("", WHAT), ("", HOW), ("", WHY)), single=True),
    "email": Usual("Email", 150, "Greeting, one matter, what is wanted by when, closing; the title is its subject.",
                   (("", WHAT), ("", WHY), ("", NEXT)), single=True),
    "social_post": Usual("Social post", 60, "One thought, at most two hashtags.", (("", WHAT), ("", WHY)), single=True),
    "speech": Usual("Speech", 700, "Written to be heard: short sentences, examples, a thought that returns at the end.",
                    (("Opening", WHAT), ("What happened", WHEN), ("What it means", WHY), ("Closing", NEXT))),
}  # fmt: skip


class ContentParams(BaseModel):
    """task_config of `content_generation` (001:148-152): topic, content_type, length, tone, keywords; the rest is ours."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    topic: Annotated[str, AfterValidator(worded)] = Field(
        min_length=1, max_length=1000, title="Topic", examples=["Latest AI Trends"])  # fmt: skip
    content_type: ContentType = Field("article", title="Sort of text", examples=["blog_post"])
    length: int | None = Field(
        None, ge=20, le=10_000, title="Length, in words", examples=[1200],
        description="Met within 10 %. Empty: what is usual for this sort of text.")  # fmt: skip
    tone: str = Field("professional", max_length=100, title="Tone", examples=["professional", "friendly", "persuasive"])
    keywords: list[str] = Field(
        default_factory=list, max_length=MOST_KEYWORDS, title="Keywords", examples=[["AI", "machine learning", "automation"]],
        description="How often each is used is counted and shown.")  # fmt: skip
    audience: str = Field("", max_length=200, title="Who reads it", examples=["people who run a small workshop"])
    language: str = Field(
        "", max_length=40, title="Language", examples=["German"], description="Empty: that of the topic."
    )
    instructions: str = Field(
        "", max_length=2000, title="What else matters", json_schema_extra={"widget": "textarea"},
        examples=["Mention the open day on Saturday."])  # fmt: skip
    collection_id: str | None = Field(
        None, max_length=40, title="Collection",
        description="Write from what is stored in it, with citations; named pages are kept in it.")  # fmt: skip
    urls: list[str] = Field(
        default_factory=list, max_length=20, title="Pages", json_schema_extra={"widget": "url-list"},
        description="Write from these pages and nothing else, with citations.",
        examples=[["https://example.org/facts"]])  # fmt: skip
    engine: str = Field(
        "", max_length=200, title="Model", examples=["extractive"],
        description="Empty: the default one. extractive: none, an outline with a digest of sources.")  # fmt: skip

    @field_validator("keywords", "urls", mode="before")
    @classmethod
    def _none_is_empty(cls, given: Any) -> Any:
        return [] if given is None else given

    @field_validator("keywords")
    @classmethod
    def _words(cls, given: list[str]) -> list[str]:
        found: dict[str, str] = {}
        for one in (" ".join(one.replace("\0", " ").split()) for one in given):
            if len(one) > LONGEST_KEYWORD:
                raise ValueError(f"a keyword has at most {LONGEST_KEYWORD} characters: {one[:40]}…")
            if one and not any(character.isalnum() for character in one):
                raise ValueError(f"{one} is no word")
            if one:
                found.setdefault(one.casefold(), one)
        return list(found.values())

    @field_validator("urls")
    @classmethod
    def _addresses(cls, given: list[str]) -> list[str]:
        return addresses(given)

    @field_validator("tone", "audience", "language", "engine")
    @classmethod
    def _one_line(cls, given: str) -> str:
        return " ".join(given.replace("\0", " ").split())
