"""Forms of the knowledge pages."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from webapp.web.api import ApiModel

MAX_LINKS = 100


class CollectionForm(ApiModel):
    name: str = Field("", max_length=200)
    description: str = Field("", max_length=2000)
    embedder: str = Field("", max_length=200)


class SettingsForm(ApiModel):
    name: str = Field("", max_length=200)
    description: str = Field("", max_length=2000)
    everyone: bool = False
    embedder: str = Field("", max_length=200)


class ShareForm(ApiModel):
    username: str = Field("", max_length=128)


class IdsForm(ApiModel):
    ids: list[str] = Field(default_factory=list, max_length=1000)


class TextForm(ApiModel):
    title: str = Field("", max_length=300)
    text: str = Field("", max_length=2_000_000)


class LinkForm(ApiModel):
    """Addresses, one per line, all read alike. The caps count for sites, sitemaps and feeds."""

    kind: Literal["url", "site", "sitemap", "feed"] = "url"
    urls: str = Field("", max_length=100_000)
    max_pages: int = Field(200, ge=1, le=20_000)
    max_depth: int = Field(3, ge=0, le=20)
    include: str = Field("", max_length=5000)
    exclude: str = Field("", max_length=5000)

    def addresses(self) -> list[str]:
        return list(dict.fromkeys(self.urls.split()))[:MAX_LINKS] or [""]

    def config(self) -> dict[str, Any] | None:
        if self.kind == "url":
            return None
        found: dict[str, Any] = {"max_pages": self.max_pages, "max_depth": self.max_depth}
        for name in ("include", "exclude"):
            if lines := [line.strip() for line in getattr(self, name).splitlines() if line.strip()]:
                found[name] = lines
        return found
