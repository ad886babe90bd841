"""One spelling per address, so that a page is fetched once; and the spellings that give a crawler trap away.

What is no fetchable URL is refused here by the gate's own parser, so the frontier never holds what the gate would
read differently. Sources: RFC 3986 section 6 (normalisation), WHATWG URL (whitespace, backslashes in links).
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from urllib.parse import urljoin

from webapp.core.addresses import MAX_URL, parse_url
from webapp.core.errors import AppError

# Parameters that say where a visitor came from or who he is, never what the page shows.
NOISE = re.compile(
    r"utm_[a-z_]+|(?:g|fb|y|ms|tw|dc|wbra|gbra)clid|gclsrc|_ga|_gl|mc_[ce]id|igshid|_hs(?:enc|mi)|mkt_tok"
    r"|phpsessid|jsessionid|aspsessionid[a-z]*|cfid|cftoken|sessionid|session_id|(?:php)?sess(?:id)?|sid",
    re.IGNORECASE,
)
PATH_SESSION = re.compile(r";(?:jsessionid|sid|phpsessid)=[^/?;]*", re.IGNORECASE)
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
ESCAPE = re.compile("%([0-9A-Fa-f]{2})")
SIMPLE = re.compile(r"/(?:[A-Za-z0-9_~-][A-Za-z0-9_~.-]*/)*(?:[A-Za-z0-9_~-][A-Za-z0-9_~.-]*)?")
NOT_A_PAGE = re.compile(
    r"(?:mailto|javascript|tel|data|about|blob|file|ftp|sms|whatsapp|intent|chrome):", re.IGNORECASE
)
# What a crawl for text never wants; pictures, media, programs, fonts, archives.
BINARY = re.compile(
    r"\.(?:jpe?g|png|gif|webp|avif|svg|ico|bmp|tiff?|mp[34]|m4[av]|ogg|og[av]|webm|mov|avi|mkv|wav|flac|woff2?|ttf|otf"
    r"|eot|css|js|mjs|map|wasm|zip|gz|tgz|bz2|xz|7z|rar|tar|exe|msi|dmg|pkg|deb|rpm|iso|apk|bin|jar|swf)",
    re.IGNORECASE,
)

MAX_SEGMENTS = 20
MAX_REPEATS = 3  # of one path segment: /a/b/a/b/a/b/a is a loop of relative links
MAX_PARAMETERS = 12
YEAR_AHEAD = 2  # a calendar that goes on further is endless
DATED = re.compile(r"(?<!\d)([12]\d{3})[-/_.](?:0?[1-9]|1[0-2])(?!\d)")


class BadUrl(ValueError):
    """Not an address that can be fetched; the message says why."""


def normalise(url: str, base: str | None = None) -> str:
    """The one spelling of `url`, resolved against `base`, without fragment. Raises BadUrl.

    Lower-case scheme and host, IDNA, no default port, no dot segments, escapes in upper case and only where
    needed, no session and campaign parameters; the order of the others is kept, since it may matter.
    """
    text = url.strip(" \t\r\n\f").replace("\t", "").replace("\n", "").replace("\r", "")
    text = text.partition("#")[0]
    if base is not None:
        text = _join(base, text)
    if len(text) > MAX_URL:
        raise BadUrl(f"longer than {MAX_URL} characters")
    try:
        target = parse_url(text.replace(" ", "%20"))
    except AppError as error:
        raise BadUrl(error.message) from None
    path, mark, query = target.path.partition("?")
    path = _dots(_escapes(PATH_SESSION.sub("", path)))
    query = _query(_escapes(query)) if mark else ""
    return f"{target.scheme}://{target.authority}{path}" + (f"?{query}" if query else "")


def _join(base: str, text: str) -> str:
    if NOT_A_PAGE.match(text):
        raise BadUrl("not a link to a page")
    try:
        return urljoin(base, text.replace("\\", "/"))
    except ValueError as error:
        raise BadUrl(str(error)) from None


def _escapes(text: str) -> str:
    return ESCAPE.sub(_escape, text) if "%" in text else text


def _escape(found: re.Match[str]) -> str:
    char = chr(int(found[1], 16))
    return char if char in UNRESERVED else found[0].upper()


def _dots(path: str) -> str:
    """RFC 3986 5.2.4."""
    if "/." not in path:
        return path
    kept: list[str] = []
    segments = path.split("/")[1:]
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
        if last and segment in (".", ".."):
            kept.append("")
    return "/" + "/".join(kept)


def _query(query: str) -> str:
    return "&".join(part for part in query.split("&") if part and not NOISE.fullmatch(part.partition("=")[0]))


class Links:
    """Resolves links of one crawl and remembers the plain ones: pages of a site repeat each other's links."""

    def __init__(self) -> None:
        self._plain = lru_cache(maxsize=50_000)(_plain)

    def resolve(self, href: str, base: str, origin: str) -> str | None:
        """The normalised URL, or None for what leads to no page. origin: "https://host" of `base`."""
        if len(href) < 1000 and SIMPLE.fullmatch(href):  # the common spelling needs no parser
            return origin + href
        return self._plain(href, base)


def _plain(href: str, base: str) -> str | None:
    if not href.strip() or href.lstrip().startswith("#"):
        return None
    try:
        return normalise(href, base)
    except BadUrl:
        return None


def origin_of(url: str) -> str:
    """ "https://host:port" of a normalised URL."""
    return url[: url.index("/", url.index("//") + 2)]


def host_of(url: str) -> str:
    """ "host" or "host:port" of a normalised URL: who is asked, and so whom to be polite to."""
    return origin_of(url).partition("//")[2]


def site_of(url: str) -> str:
    """The host without `www.`, for "the same site"."""
    return host_of(url).removeprefix("www.")


def path_of(url: str) -> str:
    return url[len(origin_of(url)) :]


def is_binary(url: str) -> bool:
    """By its ending: nothing a reader of text could use."""
    path = url.partition("?")[0]
    dot = path.rfind(".")
    return dot > path.rfind("/") and BINARY.fullmatch(path, dot) is not None


def trap(url: str, today: date | None = None) -> str | None:
    """A sentence when the spelling of a normalised URL gives an endless space away, else None (drill A30)."""
    path, _, query = path_of(url).partition("?")
    segments = [segment for segment in path.split("/") if segment]
    if len(segments) > MAX_SEGMENTS:
        return f"more than {MAX_SEGMENTS} folders deep"
    if len(segments) > MAX_REPEATS and max(map(segments.count, segments)) > MAX_REPEATS:
        return "the same folder again and again"
    if query.count("&") >= MAX_PARAMETERS:
        return f"more than {MAX_PARAMETERS} parameters"
    latest = (today or date.today()).year + YEAR_AHEAD
    if any(int(year) > latest for year in DATED.findall(url)):
        return "a calendar far in the future"
    return None
