"""Who asks, and from where: the caller, the Host and Origin of a request, CSRF, and the headers of an answer.

The area that knows people is reached as `app.extensions["identity"]` (see `IdentityDoor`), never imported.

Local mode: when neither AUTH_REQUIRED nor API_KEY is set, the person at this machine needs no password. What
keeps the web out then is checked here: the peer is loopback, the Host is a name of ours (a rebound DNS name is
not), and the browser says that no foreign page is behind the request.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Protocol, cast
from urllib.parse import urlsplit

from flask import Flask, Request, Response, current_app, g, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface
from flask_login import LoginManager
from flask_wtf.csrf import ValidationError, generate_csrf, validate_csrf
from sqlalchemy.orm import Session
from werkzeug.exceptions import MethodNotAllowed
from werkzeug.middleware.proxy_fix import ProxyFix

from webapp.core.context import ANONYMOUS, Actor
from webapp.core.errors import BadRequest, Forbidden, TooManyRequests, Unauthorized
from webapp.settings import Settings, SettingsError

if TYPE_CHECKING:
    from webapp.runtime import Runtime

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
LOGIN_KEY = "login"  # in the signed cookie: the secret of the login session
STALE_SESSION = "session_expired"
GUESSES = "60/minute"  # refused credentials of one address


class Shown(Protocol):
    """What a request showed as proof."""

    @property
    def by_program(self) -> str | None:
        """A credential that no browser adds by itself, or None."""

    @property
    def session_cookie(self) -> str | None: ...


class IdentityDoor(Protocol):
    """What `webapp.identity.wire` puts into `app.extensions["identity"]`."""

    def read(self, headers: Any, query: Any, session: str | None, *, reading: bool) -> Shown: ...
    def resolve(self, rt: Runtime, db: Session, shown: Any) -> Actor: ...
    def local_actor(self, rt: Runtime) -> Actor: ...


def init_app(app: Flask, rt: Runtime) -> None:
    """Cookies, proxies, the checks before each request and the headers after it."""
    settings = rt.settings
    app.extensions["runtime"] = rt
    app.secret_key = rt.secret_key
    app.session_interface = _Sessions()
    app.config.update(
        SESSION_COOKIE_NAME="brainstem_session",
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_REFRESH_EACH_REQUEST=False,
        PERMANENT_SESSION_LIFETIME=settings.refresh_days * 86400,
        WTF_CSRF_TIME_LIMIT=None,  # as long as the session: pages stay open for days
    )
    if settings.proxy_hops:
        # Only the address and the scheme. A forwarded host or prefix would let a sender choose our links.
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app,
            x_for=settings.proxy_hops,
            x_proto=settings.proxy_hops,
            x_host=0,
            x_port=0,
            x_prefix=0,
        )
    app.before_request(_refuse_unsafe_request)
    app.after_request(add_security_headers)
    app.jinja_env.globals.update(csrf_token=generate_csrf, csp_nonce=csp_nonce)
    _wire_flask_login(app)


class _Sessions(SecureCookieSessionInterface):
    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        """A program sends no cookie; the signer that would read one is dear to make."""
        if self.get_cookie_name(app) not in request.cookies:
            return self.session_class()
        return super().open_session(app, request)

    def get_cookie_secure(self, app: Flask) -> bool:
        return request.is_secure or _rt().settings.public_url.startswith("https:")


def _rt() -> Runtime:
    return cast("Runtime", current_app.extensions["runtime"])


def _identity() -> IdentityDoor:
    return cast(IdentityDoor, current_app.extensions["identity"])


# Before the process serves


def refuse_unsafe_start(settings: Settings, user_has_password: bool) -> None:
    """Raises SettingsError when what would be served is open to more people than its owner can mean."""
    if is_loopback(settings.host):
        return
    if settings.debug:
        raise SettingsError(f"DEBUG shows tracebacks to everybody who reaches {settings.host}: turn it off")
    if not (settings.auth_required or settings.api_key):
        raise SettingsError(
            f"serving on {settings.host} without a password would be open to all: "
            "set AUTH_REQUIRED=1 (or API_KEY), or serve on 127.0.0.1"
        )
    if settings.registration and not settings.api_key and not user_has_password:
        raise SettingsError(
            f"serving on {settings.host}, the first stranger to register would become the administrator: "
            "run `brainstem create-admin` first, or set BRAINSTEM_REGISTRATION=0"
        )


@lru_cache(maxsize=4096)
def is_loopback(host: str | None) -> bool:
    name = (host or "").strip("[]").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def local_mode(settings: Settings) -> bool:
    """Behind a proxy every request seems to come from this machine, so there is no local mode then."""
    return not (settings.auth_required or settings.api_key or settings.proxy_hops)


# The caller


def credentials_from(request: Request) -> Shown:
    """Read once per request."""
    if "shown" not in g:
        g.shown = _identity().read(
            request.headers, request.args, session.get(LOGIN_KEY), reading=request.method in ("GET", "HEAD")
        )
    return cast(Shown, g.shown)


def current_actor(db: Session | None = None, *, public: bool = False) -> Actor:
    """The caller, resolved once per request. Raises Unauthorized for a credential that is shown and wrong.

    An ended browser session means logged out where a page is asked for, and is refused everywhere else.
    public: the endpoint lets everybody in, so a wrong credential is nobody instead of an error (clients
        attach an old token even to the request that renews it).
    """
    if "actor" not in g and "actor_refused" not in g:
        try:
            g.actor = _resolve(db)
        except (Unauthorized, Forbidden, TooManyRequests) as exc:
            g.actor_refused = exc  # the error page asks again
    if "actor" in g:
        return cast(Actor, g.actor)
    if public:
        return ANONYMOUS
    raise cast(Exception, g.actor_refused)


def _resolve(db: Session | None) -> Actor:
    shown = credentials_from(request)
    try:
        actor = _resolve_in(db, shown)
    except Unauthorized as exc:
        if exc.code != STALE_SESSION:
            if _takes_any_key():
                return _local_actor()
            _count_guess()
            raise
        if not _asks_for_page(request):
            raise
        end_browser_login()
        actor = ANONYMOUS
    return actor if actor.is_authenticated else _local_actor()


def _takes_any_key() -> bool:
    """Programs made for OpenAI's API always send a key. In local mode, where none is needed, one that is nobody's
    is no wrong one; what keeps the web out is looked at as ever."""
    return request.path.startswith("/v1/") and local_mode(_rt().settings) and _from_this_machine(request)


def _asks_for_page(request: Request) -> bool:
    return request.method in ("GET", "HEAD") and not request.path.startswith(("/api/", "/v1/", "/ws/", "/live/"))


def _resolve_in(db: Session | None, shown: Shown) -> Actor:
    if shown.by_program is None and shown.session_cookie is None:
        return ANONYMOUS
    if db is not None:
        return _identity().resolve(_rt(), db, shown)
    with _rt().unit(write=False) as own:
        return _identity().resolve(_rt(), own, shown)


def _count_guess() -> None:
    wait = _rt().limits.hit(f"guess:{request.remote_addr}", GUESSES)
    if wait is not None:
        raise TooManyRequests(f"Too many wrong credentials. Try again in {wait} seconds.", retry_after=wait)


def _local_actor() -> Actor:
    if not local_mode(_rt().settings) or not _from_this_machine(request):
        return ANONYMOUS
    refuse_foreign_page(request)
    return _identity().local_actor(_rt())


def _from_this_machine(request: Request) -> bool:
    """A loopback peer that forwards for others is a proxy nobody told us about: not the local person."""
    forwarded = any(name in request.headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"))
    return is_loopback(request.remote_addr) and not forwarded


def watch_credentials() -> Callable[[], bool]:
    """For open sockets and streams: a function, usable after the request, that says if the caller still may.

    It asks the database, so call it every few seconds and not per message. A suspended person, a revoked key,
    an ended login and an expired token all turn it False.
    """
    rt, identity, shown = _rt(), _identity(), credentials_from(request)

    def still_allowed() -> bool:
        if shown.by_program is None and shown.session_cookie is None:
            return True  # the local person, or a stranger who may look
        try:
            with rt.unit(write=False) as db:
                return identity.resolve(rt, db, shown).is_authenticated
        except Unauthorized:
            return False

    return still_allowed


# Where the request comes from


def _refuse_unsafe_request() -> None:
    if request.method in ("TRACE", "TRACK", "CONNECT"):
        raise MethodNotAllowed()
    check_host(request, _rt().settings)


# What a browser can send as Host: a name or an address, then perhaps a port. Nothing else reaches our pages.
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*)(?::\d{1,5})?", re.IGNORECASE)


def check_host(request: Request, settings: Settings) -> None:
    """Refuse a Host that is not ours: after DNS rebinding a foreign page has our address under its own name."""
    match = _HOST.fullmatch(request.environ.get("HTTP_HOST", ""))
    strict = local_mode(settings) or settings.trusted_hosts or settings.public_url
    if match is None and not (strict or "HTTP_HOST" in request.environ):
        return  # HTTP/1.0 without a Host
    name = match.group(1).lower() if match else ""
    if match is None or (strict and not _is_our_name(name, settings)):
        raise BadRequest(
            "This server is not known under that host name.",
            code="untrusted_host",
            suggestion="Add the name to BRAINSTEM_TRUSTED_HOSTS if it is yours.",
        )


def _is_our_name(name: str, settings: Settings) -> bool:
    if is_loopback(name):
        return True
    ours = {host.lower().strip("[]") for host in settings.trusted_hosts}
    ours |= {(urlsplit(settings.public_url).hostname or "").lower(), settings.host.lower().strip("[]")}
    bare = name.strip("[]")
    return bare in ours or any(host.startswith(".") and bare.endswith(host) for host in ours if host)


def refuse_foreign_page(request: Request) -> None:
    """Refuse what a page elsewhere makes a browser send, but for following a link to one of our pages."""
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if origin is not None and not same_origin(request, origin):
        raise _foreign()
    if site in (None, "same-origin", "none") or (site == "same-site" and origin is not None):
        return  # `same-site` with our Origin: our page, asking the live process on its port
    link = request.headers.get("Sec-Fetch-Mode") == "navigate" and request.method == "GET"
    if not link or request.headers.get("Sec-Fetch-Dest", "document") != "document":
        raise _foreign()


def _foreign() -> Forbidden:
    return Forbidden("This request comes from a page of another site.", code="foreign_origin")


def same_origin(request: Request, origin: str) -> bool:
    """An https page at our host counts too when we see http: a proxy took the encryption off."""
    settings = _rt().settings
    public = urlsplit(settings.public_url.lower())
    try:
        page = urlsplit(origin.lower())
    except ValueError:
        return False
    if page.scheme not in ("http", "https") or not page.netloc:
        return False
    if (page.scheme, page.netloc) == (public.scheme, public.netloc):
        return True
    ours = {request.host.lower()}
    if settings.live_port:  # then this may be the live process, asked by a page of the other one
        ours.add(f"{request.host.lower().rsplit(':', 1)[0]}:{settings.port}")
    return page.netloc in ours and page.scheme in (request.scheme, "https")


def check_csrf(request: Request, actor: Actor) -> None:
    """Refuse a change that a foreign page could have caused (contract C04).

    1. A bearer value or API key cannot be added by a foreign page: exempt.
    2. A foreign Origin or Sec-Fetch-Site is refused, whatever else is shown.
    3. A valid token (form field `csrf_token` or header X-CSRFToken) is enough.
    4. What shows no sign of a browser (no cookie, no Origin, no Referer, no Sec-Fetch-*) is a program.
    5. JSON, or no body at all, is enough when the browser said that the page is ours; forms need the token.
    """
    if request.method in SAFE_METHODS or credentials_from(request).by_program is not None:
        return
    refuse_foreign_page(request)
    if _has_csrf_token(request) or not _from_browser(request):
        return
    says_ours = "Origin" in request.headers or "Sec-Fetch-Site" in request.headers
    plain = request.mimetype == "application/json" or (not request.mimetype and not request.content_length)
    if not (plain and says_ours):
        raise Forbidden("The form's token is missing or old.", code="csrf", suggestion="Reload the page and try again.")


def _has_csrf_token(request: Request) -> bool:
    token = request.headers.get("X-CSRFToken") or request.form.get("csrf_token")
    try:
        validate_csrf(token)
    except ValidationError:
        return False
    return True


def _from_browser(request: Request) -> bool:
    return any(name in request.headers for name in ("Cookie", "Origin", "Referer", "Sec-Fetch-Site"))


def check_ws_origin(request: Request) -> None:
    """Before a WebSocket is accepted: no foreign page ever, and a cookie counts only with our own Origin.

    A program has no Origin; it shows a token, or is at this machine in local mode.
    """
    origin = request.headers.get("Origin")
    if origin is not None:
        if not same_origin(request, origin):
            raise _foreign()
    elif "Cookie" in request.headers and credentials_from(request).by_program is None:
        raise _foreign()


def safe_next(url: str | None, default: str = "/") -> str:
    """`url` when it is a path of ours, else `default`: browsers read `//x`, `/\\x` and `/<tab>/x` as hosts."""
    if not url or not url.startswith("/") or url.startswith("//") or re.search(r"[\\\x00-\x20\x7f]", url):
        return default
    return url


# The browser's login


def start_browser_login(secret: str) -> None:
    """A fresh cookie, so that nothing planted before the login lives on in it."""
    end_browser_login()
    session[LOGIN_KEY] = secret
    session.permanent = True


def end_browser_login() -> None:
    session.clear()
    for cached in ("shown", "actor", "actor_refused", "csrf_token", "_login_user"):
        g.pop(cached, None)


class CurrentUser:
    """The caller as templates see it (`current_user`), in the shape that flask-login wants."""

    def __init__(self, actor: Actor) -> None:
        self.id, self.username = actor.id, actor.username
        self.is_admin, self.is_local = actor.is_admin, actor.is_local
        self.is_authenticated = self.is_active = actor.is_authenticated
        self.is_anonymous = not actor.is_authenticated

    def get_id(self) -> str | None:
        return self.id


def _wire_flask_login(app: Flask) -> None:
    manager = LoginManager()
    manager.session_protection = None  # the login session is a row that can be ended
    manager.anonymous_user = lambda: CurrentUser(ANONYMOUS)
    manager.request_loader(_load_for_template)
    manager.init_app(app)


def _load_for_template(_request: Request) -> CurrentUser:
    """An error page shows a menu as well: whoever was refused is nobody there, not a second error."""
    return CurrentUser(current_actor(public=True))


# The answer


def csp_nonce() -> str:
    if "csp_nonce" not in g:
        g.csp_nonce = secrets.token_urlsafe(16)
    return cast(str, g.csp_nonce)


def relax_csp(**directives: str) -> None:
    """For this answer only, e.g. `relax_csp(style_src="'self' 'unsafe-inline'")`. Say why where you call it."""
    g.csp = {name.replace("_", "-"): value for name, value in directives.items()}


_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # `no-referrer` would turn the Origin of our own forms into `null`.
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), browsing-topics=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def add_security_headers(response: Response) -> Response:
    """What a view has set itself stays."""
    ours = {**_HEADERS, "Content-Security-Policy": _policy()}
    if request.is_secure:
        ours["Strict-Transport-Security"] = "max-age=31536000"
    have = {name.lower() for name, _ in response.headers}  # once: asking the headers eight times costs four times more
    for name, value in ours.items():
        if name.lower() not in have:
            response.headers.add(name, value)
    return response


def _policy() -> str:
    nonce = f" 'nonce-{g.csp_nonce}'" if "csp_nonce" in g else ""
    policy = {
        "default-src": "'self'",
        "script-src": f"'self'{nonce}",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": f"'self'{_socket_sources()}",
        "frame-ancestors": "'none'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "object-src": "'none'",
    }
    policy |= g.get("csp", {})
    text = "; ".join(f"{name} {value}" for name, value in policy.items())
    # A page on https that opens ws:// gets wss:// (contract C47).
    return f"{text}; upgrade-insecure-requests" if request.is_secure else text


def _socket_sources() -> str:
    """Our own host by name: not every browser lets 'self' cover sockets, and `ws:` would cover the whole world."""
    match = _HOST.fullmatch(request.environ.get("HTTP_HOST", ""))
    if match is None:
        return ""
    sources = f" ws://{match.group(0)} wss://{match.group(0)}"
    live_port = _rt().settings.live_port
    if live_port:
        live = f"{match.group(1)}:{live_port}"
        sources += f" {request.scheme}://{live} ws://{live} wss://{live}"
    return sources
