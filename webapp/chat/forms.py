"""Forms of the chat pages."""

from __future__ import annotations

from pydantic import BaseModel, Field

from webapp.chat.service.messages import LONGEST


class EditForm(BaseModel):
    text: str = Field("", max_length=LONGEST)


class AskForm(EditForm):
    example: str = Field("", max_length=1000)  # the button of an example question
    content: str = Field(
        "", max_length=LONGEST
    )  # the box of the home page calls it so, and links on lines of their own
    urls: str = Field("", max_length=LONGEST)
    agent: str = Field("", max_length=64)
    engine: str = Field("", max_length=200)
    collections: list[str] = Field([], max_length=500)

    @property
    def question(self) -> str:
        return next((one.strip() for one in (self.example, self.text, self.content, self.urls) if one.strip()), "")


class RenameForm(BaseModel):
    title: str = Field("", max_length=200)


class PinForm(BaseModel):
    pinned: str = Field("", max_length=1)
