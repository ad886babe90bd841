"""Steps as they are written: sentences for people, objects for programs. What may refer to what is checked before anything runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from webapp.core import lookup
from webapp.custom.conditions import ALONE, Operator

MOST_STEPS = 50
MAX_TEXT = 200_000
NAME = re.compile(r"[A-Za-z_][\w-]{0,39}")
ROOTS = ("steps", "previous", "config")
Analysis = Literal["language", "statistics", "keywords", "entities", "sentiment", "readability"]
Action = Literal["continue", "skip", "stop", "goto"]


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid", str_max_length=MAX_TEXT)

    name: str | None = Field(None, description="How later steps call it; step1, step2 and so on when nothing is said.")
    on_error: Literal["fail", "continue"] = "fail"

    @field_validator("name")
    @classmethod
    def _plain(cls, name: str | None) -> str | None:
        if name is not None and not NAME.fullmatch(name):
            raise ValueError("letters, digits, - and _, at most 40")
        return name


class PromptStep(_Step):
    """A model writes; without one, sentences of the knowledge base are quoted."""

    type: Literal["prompt"] = "prompt"
    prompt: str = Field(min_length=1, max_length=50_000)
    system: str = Field("", max_length=10_000)
    engine: str = Field("", max_length=300)
    max_tokens: int = Field(512, ge=1, le=8000)
    temperature: float = Field(0.2, ge=0, le=2)
    use_knowledge: bool = False
    free: bool = Field(
        False, description="Written as a sentence: the step before and the configuration are shown with it."
    )


class SearchStep(_Step):
    type: Literal["search"]
    query: str = Field(min_length=1, max_length=4000)
    k: int = Field(5, ge=1, le=20)


class FetchStep(_Step):
    type: Literal["fetch"]
    url: str = Field(min_length=1, max_length=2048)


class AnalysisStep(_Step):
    """Of a text (the step before when nothing is said), or of data as a table."""

    type: Literal["analysis"]
    text: str = Field("", max_length=MAX_TEXT)
    data: Any = None
    analyses: list[Analysis] | None = Field(None, min_length=1, max_length=6)


class TaskStep(_Step):
    type: Literal["task"]
    kind: str = Field(min_length=1, max_length=64)
    params: dict[str, Any] = Field(default_factory=dict)
    title: str = Field("", max_length=300)


class ConditionStep(_Step):
    """Compares what is at `field` and goes on, skips the next step, stops, or goes to a later step."""

    type: Literal["condition"]
    field: str = Field(min_length=1, max_length=lookup.LONGEST_PATH)
    operator: Operator
    value: Any = None
    then: Action = "continue"
    otherwise: Action = "stop"
    goto: str | None = Field(None, max_length=40)

    @model_validator(mode="after")
    def _whole(self) -> ConditionStep:
        lookup_root(self.field)
        if "goto" in (self.then, self.otherwise) and not self.goto:
            raise ValueError("goto: name the later step")
        if self.operator not in ALONE and self.value is None:
            raise ValueError(f"value: {self.operator} needs one")
        if isinstance(self.value, (dict, list)):
            raise ValueError("value: text, a number, true or false")
        return self


Step = Annotated[
    PromptStep | SearchStep | FetchStep | AnalysisStep | TaskStep | ConditionStep, Field(discriminator="type")
]
ANY_STEP: TypeAdapter[Any] = TypeAdapter(Step)


def lookup_root(path: str) -> str:
    """The first name of a path. Raises ValueError for one that leads nowhere."""
    try:
        first = str(lookup.parse(path)[0])
    except lookup.BadPath as error:
        raise ValueError(str(error)) from None
    if first not in ROOTS:
        raise ValueError(f"“{path[:60]}” begins with none of steps, previous and config")
    return first


class CustomParams(BaseModel):
    """task_config of custom steps (001:167-176)."""

    model_config = ConfigDict(extra="forbid", str_max_length=MAX_TEXT)

    steps: list[Any] = Field(
        title="Steps",
        min_length=1,
        max_length=MOST_STEPS,
        description="One a line: “search: bees”, “fetch: https://example.org”, “summary”, “keywords”, “if previous.count > 0 then "
        "continue else stop”; anything else is a prompt. Programs may send objects with a type.",
        examples=[["search: how bees make honey", "keywords", "What follows from this?"]],
        json_schema_extra={"widget": "textarea"},
    )
    custom_config: Any = Field(
        None,
        title="Configuration",
        description="Whatever the steps need; they read it as {{ config.name }}.",
        examples=["Any custom parameters"],
        json_schema_extra={"widget": "textarea"},
    )
    engine: str = Field(
        "", title="Model", max_length=300, description="For prompts that name none. Empty for the default one."
    )

    @field_validator("custom_config", mode="before")
    @classmethod
    def _object(cls, value: Any) -> Any:
        """A form sends text; what is written as an object is one."""
        if isinstance(value, str) and value.strip().startswith(("{", "[")):
            try:
                return json.loads(value)
            except (ValueError, RecursionError):
                return value
        return value or None

    @field_validator("custom_config")
    @classmethod
    def _small(cls, value: Any) -> Any:
        try:
            if len(json.dumps(value)) > MAX_TEXT:
                raise ValueError(f"at most {MAX_TEXT:,} characters")
        except RecursionError:
            raise ValueError("too many levels") from None
        return value

    @field_validator("steps", mode="before")
    @classmethod
    def _lines(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = json.loads(value) if _is_list(value) else value.splitlines()
        return [one for one in value if not isinstance(one, str) or one.strip()] if isinstance(value, list) else value

    @field_validator("steps")
    @classmethod
    def _possible(cls, given: list[Any]) -> list[Any]:
        """Kept as written; read here once so that what is wrong is said now."""
        check(read(given))
        return given


def _is_list(text: str) -> bool:
    try:
        return text.lstrip().startswith("[") and isinstance(json.loads(text), list)
    except (ValueError, RecursionError):
        return False


def read(given: list[Any]) -> list[Any]:
    """The steps, each with a name. Raises ValueError that names the step and its field."""
    steps = []
    for number, one in enumerate(given, 1):
        try:
            step = from_text(one) if isinstance(one, str) else ANY_STEP.validate_python(one)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"] if part not in KINDS_OF_STEP)
            said = first["msg"].removeprefix("Value error, ")
            raise ValueError(f"step {number}{', ' + where if where else ''}: {said}") from None
        except ValueError as error:
            raise ValueError(f"step {number}: {error}") from None
        steps.append(step.model_copy(update={"name": step.name or f"step{number}"}))
    return steps


KINDS_OF_STEP = frozenset(("prompt", "search", "fetch", "analysis", "task", "condition"))


def check(steps: list[Any]) -> None:
    """Names differ; places and conditions name earlier steps; a jump goes forward. Raises ValueError."""
    names = [step.name for step in steps]
    for number, step in enumerate(steps, 1):
        if names.index(step.name) != number - 1:
            raise ValueError(f"step {number}: the name {step.name} is there twice")
        for path in _paths(step):
            _check_path(path, number, names[: number - 1], step)
        if getattr(step, "goto", None) and step.goto not in names[number:]:
            raise ValueError(f"step {number}, goto: {step.goto} is no later step")
        if step.type == "task":
            _check_kind(step.kind, number)
        if step.type == "analysis" and number == 1 and not step.text and step.data is None:
            raise ValueError("step 1: there is no step before it; give a text or data")


def _paths(step: Any) -> Iterator[str]:
    if step.type == "condition":
        yield step.field
    yield from _places(step.model_dump(exclude={"name", "type", "field"}))


def _places(value: Any, depth: int = 0) -> Iterator[str]:
    if isinstance(value, str):
        yield from lookup.places(value)
    elif depth <= lookup.DEEPEST and isinstance(value, (list, dict)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _places(one, depth + 1)


def _check_path(path: str, number: int, earlier: list[str], step: Any) -> None:
    if step.type == "task" and step.kind == "api" and path.startswith("secrets."):
        return
    try:
        root = lookup_root(path)
        rest = [str(one) for one in lookup.parse(path)[1:2]]
    except ValueError as error:
        raise ValueError(f"step {number}: {error}") from None
    if root == "steps" and (not rest or rest[0] not in earlier):
        raise ValueError(f"step {number}: {{{{ {path[:60]} }}}} names no earlier step")
    if root == "previous" and not earlier:
        raise ValueError(f"step {number}: there is no step before it")


def _check_kind(name: str, number: int) -> None:
    from webapp.core.errors import NotFound
    from webapp.tasks.kinds import kinds

    try:
        if kinds.get(name).hidden:
            raise NotFound(name)
    except NotFound:
        raise ValueError(f"step {number}, kind: there is no task kind {name[:64]}") from None
    if name == "custom":
        raise ValueError(f"step {number}, kind: steps cannot start further steps")


# -- sentences -------------------------------------------------------------------------------------------------------

URL = re.compile(r"https?://\S+")
FETCH = re.compile(r"(?:fetch|read|open|get|download)\s*:?\s+(https?://\S+|\{\{[^{}]+\}\})", re.I)
SEARCH = re.compile(r"(?:search|look)\s*(?::|\bfor\b|\bup\b)\s*(.+)|(?:search|find)\s*:\s*(.+)", re.I | re.S)
PROMPT = re.compile(r"(?:prompt|ask|write)\s*:\s*(.+)", re.I | re.S)
SUMMARY = re.compile(
    r"(?:summary|summari[sz]e(?:\s+(?:it|this|that|the\s+(?:result|text|page)))?)\s*(?::\s*(.+))?\.?", re.I | re.S
)
ANALYSIS = re.compile(
    r"(?:(?:analy[sz]e|analysis|nlp)(?:\s+(?:it|this|that|of))?\s*:?\s*)?"
    r"(language|statistics|keywords|entities|sentiment|readability)?(?:\s+(?:of\s+)?(?:it|this|that))?\.?",
    re.I,
)
TASK = re.compile(r"task\s*:?\s+([a-z_.]{2,64})\s*:?\s*(\{.*\})?", re.I | re.S)
ACT = r"(continue|skip|stop|goto\s+[\w-]+)"
CONDITION = re.compile(
    rf"if\s+(\S{{1,300}})\s+(==|!=|<=|>=|<|>|contains|not_contains|starts_with|ends_with|exists|missing|empty|not_empty)"
    rf"(?:\s+(.{{0,300}}?))?\s*(?:,|\bthen\b)\s*{ACT}(?:\s*,?\s*else\s+{ACT})?",
    re.I,
)  # fmt: skip


def from_text(text: str) -> Any:
    """A sentence as a step: a known action, or a prompt. Raises ValueError."""
    text = text.strip()
    if len(text) > 50_000:
        raise ValueError("at most 50,000 characters")
    if text.startswith("{") and not text.startswith("{{"):
        try:
            return ANY_STEP.validate_python(json.loads(text))
        except (json.JSONDecodeError, RecursionError):
            raise ValueError("it begins like an object but is no JSON") from None
    return ANY_STEP.validate_python(_action(text) or {"type": "prompt", "prompt": text, "free": True})


def _action(text: str) -> dict[str, Any] | None:
    """The known action a sentence names, if it names one."""
    if URL.fullmatch(text):
        return {"type": "fetch", "url": text}
    if found := FETCH.fullmatch(text):
        return {"type": "fetch", "url": found[1]}
    if text.lower().startswith("if ") and (found := CONDITION.fullmatch(text)):
        return _condition(found)
    if found := SEARCH.fullmatch(text):
        return {"type": "search", "query": (found[1] or found[2]).strip()}
    if found := PROMPT.fullmatch(text):
        return {"type": "prompt", "prompt": found[1].strip(), "free": True}
    if found := SUMMARY.fullmatch(text):
        return {"type": "task", "kind": "summary", "params": {"content": found[1] or "{{ previous.text }}"}}
    if found := TASK.fullmatch(text):
        return {"type": "task", "kind": found[1].lower(), "params": _object(found[2])}
    if text.rstrip(".") and (found := ANALYSIS.fullmatch(text)):
        return {"type": "analysis", "analyses": [found[1].lower()] if found[1] else None}
    return None


def _object(text: str | None) -> dict[str, Any]:
    if not text:
        return {"content": "{{ previous.text }}"}
    try:
        made = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("what follows the kind is no JSON") from None
    if not isinstance(made, dict):
        raise ValueError("what follows the kind is no JSON object")
    return made


def _condition(found: re.Match[str]) -> dict[str, Any]:
    path, operator, value, then, other = found.groups()
    acts = [then.split(), (other or ("stop" if then.lower() == "continue" else "continue")).split()]
    target = next((one[1] for one in acts if len(one) > 1), None)
    return {"type": "condition", "field": path, "operator": operator.lower(), "value": _value(value), "then": acts[0][0].lower(),
            "otherwise": acts[1][0].lower(), "goto": target}  # fmt: skip


def _value(text: str | None) -> Any:
    if text is None or not text.strip():
        return None
    text = text.strip()
    try:
        made = json.loads(text)
    except ValueError:
        return text.strip("'")
    return text if isinstance(made, (dict, list)) or made is None else made
