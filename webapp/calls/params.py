"""What a call is: address, method, headers, body, what to take from the answer.

Lines for people (`Name: value`, `name = path`), objects for programs; both end as lines, so a form can show them again.
"""

from __future__ import annotations

import json
import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from webapp.core import lookup
from webapp.core.http import OWN_HEADERS

MAX_BODY = 1_000_000  # characters
MAX_LINES = 50
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
NAME = re.compile(r"[A-Za-z_][\w-]{0,59}")
SECRETS = "secrets."
Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]
IDEMPOTENT = frozenset(("GET", "HEAD", "OPTIONS", "PUT", "DELETE"))  # RFC 9110, 9.2.2


class CallParams(BaseModel):
    """task_config of a call."""

    model_config = ConfigDict(extra="forbid", str_max_length=MAX_BODY)

    url: str = Field(
        title="Address", min_length=1, max_length=2048, description="Public addresses, and private ones the operator allows.",
        examples=["https://api.example.org/v1/weather"],
    )  # fmt: skip
    method: Method = Field("GET", title="Method")
    headers: list[str] = Field(
        default_factory=list, title="Headers", max_length=MAX_LINES, examples=[["Accept: application/json"]],
        description="As “Name: value”. Those that carry credentials are kept encrypted.",
    )  # fmt: skip
    query: list[str] = Field(
        default_factory=list, title="Query", max_length=MAX_LINES, description="As “name = value”; added to the address.",
        examples=[["city = Leipzig"]],
    )  # fmt: skip
    body: str | None = Field(
        None, title="Body", description="Sent as it stands; JSON when it is JSON. Programs may send an object.",
        json_schema_extra={"widget": "textarea"}, examples=['{"city": "Leipzig"}'],
    )  # fmt: skip
    secrets: list[str] = Field(
        default_factory=list, title="Secrets", max_length=MAX_LINES, examples=[["token = ..."]],
        description="As “name = value”: kept encrypted, never shown or logged. Use one anywhere as {{ secrets.name }}.",
    )  # fmt: skip
    mapping: list[str] = Field(
        default_factory=list, title="What to take from the answer", max_length=MAX_LINES,
        description="As “name = path” into the JSON, such as “first = items[0].name” or “names = items[*].name”.",
        examples=[["degrees = current.temperature"]],
    )  # fmt: skip
    accept: Literal["success", "any"] = Field(
        "success",
        title="Which answers count",
        description="success: 2xx, others fail the task. any: whatever is answered.",
    )
    timeout: float = Field(30.0, ge=1, le=300, title="Seconds to wait for the answer")
    retries: int = Field(3, ge=0, le=3, title="Further tries", description="After an error that may pass.")
    repeat_unclear: bool = Field(
        False,
        title="Send again even if it may have arrived",
        description="For POST and PATCH. Every try carries the same Idempotency-Key; choose this if the other side honours it.",
    )

    @field_validator("method", mode="before")
    @classmethod
    def _upper(cls, value: Any) -> Any:
        return value.upper() if isinstance(value, str) else value

    @field_validator("headers", "query", "secrets", "mapping", mode="before")
    @classmethod
    def _lines(cls, value: Any, info: ValidationInfo) -> Any:
        sign = ": " if info.field_name == "headers" else " = "
        if isinstance(value, dict):
            return [f"{name}{sign}{_text(one)}" for name, one in value.items()]
        if isinstance(value, str):
            value = value.splitlines()
        return [one for one in value if not isinstance(one, str) or one.strip()] if isinstance(value, list) else value

    @field_validator("headers")
    @classmethod
    def _headers(cls, lines: list[str]) -> list[str]:
        for line in lines:
            name, value = pair(line, ":")
            if not TOKEN.fullmatch(name):
                raise ValueError(f"“{line[:60]}”: write it as “Name: value”")
            if name.lower() in OWN_HEADERS:
                raise ValueError(f"{name} is set by the sender itself")
            if len(value) > 8000 or any(ord(sign) < 32 or ord(sign) > 255 for sign in value):
                raise ValueError(f"the value of {name} is too long or has characters that are not allowed")
        return [line.strip() for line in lines]

    @field_validator("query")
    @classmethod
    def _query(cls, lines: list[str]) -> list[str]:
        for line in lines:
            if not pair(line, "=")[0]:
                raise ValueError(f"“{line[:60]}”: write it as “name = value”")
        return [line.strip() for line in lines]

    @field_validator("secrets")
    @classmethod
    def _secrets(cls, lines: list[str]) -> list[str]:
        for line in lines:  # a wrong line may hold the secret: it is not repeated
            name, value = pair(line, "=")
            if not NAME.fullmatch(name) or not value:
                raise ValueError("write each as “name = value”, the name of letters and digits")
        return [line.strip() for line in lines]

    @field_validator("mapping")
    @classmethod
    def _mapping(cls, lines: list[str]) -> list[str]:
        for line in lines:
            name, path = pair(line, "=")
            if not NAME.fullmatch(name):
                raise ValueError(f"“{line[:60]}”: write it as “name = path”")
            try:
                lookup.parse(path)
            except lookup.BadPath as error:
                raise ValueError(f"{name}: {error}") from None
        return [line.strip() for line in lines]

    @field_validator("body", mode="before")
    @classmethod
    def _body(cls, value: Any) -> Any:
        return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value or None

    @model_validator(mode="after")
    def _whole(self) -> CallParams:
        if self.body and self.method in ("GET", "HEAD"):
            raise ValueError(f"body: a {self.method} has none")
        known = {pair(line, "=")[0] for line in self.secrets}
        for text in (self.url, self.body or "", *self.headers, *self.query):
            for path in lookup.places(text):
                if not path.startswith(SECRETS) or path.removeprefix(SECRETS) not in known:
                    raise ValueError(f"{{{{ {path[:60]} }}}}: there is no secret of this name")
        return self


def pair(line: str, sign: str) -> tuple[str, str]:
    name, _, value = line.partition(sign)
    return name.strip(), value.strip()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
