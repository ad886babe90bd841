"""What the task `crawl.site` is asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from webapp.core.errors import AppError
from webapp.crawl import patterns, urls

ReadAs = Literal["site", "page", "sitemap", "feed"]


Stay = Literal["path", "site", "subdomains", "anywhere"]


class CrawlOptions(BaseModel):
    """How a crawl goes, whoever asks for it.

    read_as: what the addresses are: the front of a site, single pages, sitemaps, or feeds. stay: how far links may
    lead: `path` (below the addresses given), `site` (their hosts, with or without www.), `subdomains`, `anywhere`
    (then at most `max_hosts`). robots.txt may ask for a longer delay.
    """

    urls: list[str] = Field(default_factory=list, max_length=1000, description="Where to begin")
    collection_id: str | None = Field(None, max_length=40, description="Your default collection when absent")
    name: str = Field("", max_length=300)
    read_as: ReadAs = "site"
    stay: Stay = "site"
    max_depth: int = Field(3, ge=0, le=20)
    max_pages: int = Field(200, ge=1, le=20_000)
    max_hosts: int = Field(5, ge=1, le=100)
    max_mb: int = Field(200, ge=1, le=5_000)
    include: list[str] = Field(default_factory=list, max_length=patterns.MAX_PATTERNS)
    exclude: list[str] = Field(default_factory=list, max_length=patterns.MAX_PATTERNS)
    delay: float | None = Field(None, ge=0, le=60, description="Seconds between two requests to a host")
    use_sitemaps: bool = True
    fresh: bool = Field(False, description="Fetch everything anew, without asking what changed")

    @field_validator("include", "exclude")
    @classmethod
    def _patterns(cls, given: list[str]) -> list[str]:
        wanted = [one.strip() for one in given if one.strip()]
        for one in wanted:
            try:
                patterns.matcher(one)
            except AppError as error:
                raise ValueError(error.message) from None
        return wanted


class CrawlParams(CrawlOptions):
    """source_id: of a source of the knowledge area, which then says the address and what it is.

    own_hosts: absent when a person named the addresses. Otherwise a program found them: they count as links of the web,
    so that of private hosts only these (host or host:port) are read, and a page may ask not to be kept.
    """

    model_config = ConfigDict(extra="forbid")

    source_id: str | None = Field(None, max_length=40)
    own_hosts: list[str] | None = Field(None, max_length=100)

    @field_validator("urls")
    @classmethod
    def _addresses(cls, given: list[str]) -> list[str]:
        found = []
        for one in given:
            text = one.strip()
            try:
                found.append(urls.normalise(text if "://" in text else f"https://{text}"))
            except urls.BadUrl as error:
                raise ValueError(f"{text[:200] or 'an empty line'}: {error}") from None
        return list(dict.fromkeys(found))
