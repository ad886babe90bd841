"""What the three kinds of task are asked for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from webapp.crawl import urls

MOST_PAGES = 50
MOST_QUESTIONS = 8

Topic = Field(min_length=1, max_length=1000, title="Topic")


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    collection_id: str | None = Field(None, max_length=40, title="Collection", description="Where new pages are kept.")
    engine: str = Field("", max_length=200, title="Model", description="Empty: the default one; extractive: none.")
    include_quality: bool = Field(False, title="Judge the quality of the sources")
    conversation_id: str | None = Field(None, max_length=200)


def addresses(given: list[str]) -> list[str]:
    """Normalised, each once. Raises ValueError naming the one that is none."""
    found = []
    for one in given:
        text = one.strip()
        try:
            found.append(urls.normalise(text if "://" in text else f"https://{text}"))
        except urls.BadUrl as error:
            raise ValueError(f"{text[:200] or 'an empty line'}: {error}") from None
    return list(dict.fromkeys(found))


class _Expanding(_Params):
    urls: list[str] = Field(default_factory=list, max_length=MOST_PAGES, title="Pages to begin with",
                            description="Read before those that are found.")  # fmt: skip

    @field_validator("urls")
    @classmethod
    def _addresses(cls, given: list[str]) -> list[str]:
        return addresses(given)


def worded(given: str) -> str:
    words = " ".join(given.replace("\0", " ").split())
    if not any(character.isalnum() for character in words):
        raise ValueError("say what to look for")
    return words


class ResearchParams(_Expanding):
    """questions: what to find out; a plan is made when there are none. max_sources: pages that are newly read at most."""

    topic: Annotated[str, AfterValidator(worded)] = Topic
    questions: list[str] = Field(default_factory=list, max_length=MOST_QUESTIONS, title="Questions")
    expand_knowledge: bool = Field(True, title="Look for new sources")
    max_sources: int = Field(5, ge=1, le=MOST_PAGES, title="Most new pages")

    @field_validator("questions")
    @classmethod
    def _plain(cls, given: list[str]) -> list[str]:
        return list(dict.fromkeys(" ".join(one.split())[:1000] for one in given if one.strip()))


class AnswersParams(ResearchParams):
    """task_config of `research` (001:136-138): topic, urls and questions; the rest is ours."""

    topic: Annotated[str, AfterValidator(worded)] = Field(
        min_length=1, max_length=1000, title="Topic", examples=["AI Ethics"],
        description="What it is about.")  # fmt: skip
    urls: list[str] = Field(
        default_factory=list, max_length=MOST_PAGES, title="Pages", examples=[["https://source1.com", "https://source2.com"]],
        description="Answers come from these and nothing else. Empty: from what is stored, and from new sources.",
        json_schema_extra={"widget": "url-list"})  # fmt: skip
    questions: list[str] = Field(
        default_factory=list, max_length=MOST_QUESTIONS, title="Questions", description="Empty: a plan is made of the topic.",
        examples=[["What are the main concerns?", "What solutions exist?"]])  # fmt: skip
    expand_knowledge: bool = Field(
        True, title="Look for new sources", description="Where no pages are named; off: only what is stored already."
    )
    max_sources: int = Field(
        5, ge=1, le=MOST_PAGES, title="Most new pages", description="Read at most, where no pages are named.")  # fmt: skip
    conversation_id: str | None = Field(None, max_length=200, json_schema_extra={"widget": "hidden"})

    @field_validator("urls", "questions", mode="before")
    @classmethod
    def _none_is_empty(cls, given: Any) -> Any:
        return [] if given is None else given


class ExpandParams(_Expanding):
    """question: answered before and after, so that one sees what the new pages changed; the topic, if none is named."""

    topic: Annotated[str, AfterValidator(worded)] = Topic
    question: str = Field("", max_length=4000, title="Question")
    max_urls: int = Field(5, ge=1, le=MOST_PAGES, title="Most new pages")

    @model_validator(mode="before")
    @classmethod
    def _about(cls, given: Any) -> Any:
        if isinstance(given, dict) and not given.get("topic") and isinstance(given.get("question"), str):
            return given | {"topic": given["question"][:1000]}
        return given


class AnalyzeParams(_Params):
    """analysis_type: comparison says what agrees and what differs; claims only what each source claims."""

    urls: list[str] = Field(min_length=1, max_length=10, title="Pages")
    analysis_type: Literal["comparison", "claims"] = "comparison"
    question: str = Field(
        "", max_length=1000, title="What matters", description="Left out: whatever they have in common."
    )

    @field_validator("urls")
    @classmethod
    def _addresses(cls, given: list[str]) -> list[str]:
        return addresses(given)
