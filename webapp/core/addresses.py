"""Where may we connect? One strict URL parser, one resolver, one judgement on addresses.

The first half of the outbound gate (design rules 19 and 20); `webapp.core.http` is the second half and the
only caller that opens sockets. Nothing here connects anywhere: a refusal costs a DNS question at most.

Why not `urllib.parse` or `ipaddress.is_global` alone: two parsers that disagree on the host of
`http://a:80\\@b/` are an attack, and `is_global` calls NAT64, 6to4 and cloud metadata addresses global.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import time
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from webapp.core.errors import BadRequest, BlockedAddress, Upstream

Resolver = Callable[[str, int], list[str]]
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_URL = 2048
DEFAULT_PORTS = {"http": 80, "https": 443}
WEB_PORTS = frozenset({80, 443, 8080, 8443})
DNS_TIMEOUT = 5.0


@dataclass(frozen=True)
class OutboundPolicy:
    """What the operator permits beyond the public web.

    allow_hosts: "host" or "host:port" (IPv6 as "[::1]" or "[::1]:8080"). There a private or loopback address
      and any port (or just that port) are fine. Metadata and link-local addresses stay blocked (rule 20).
      These names are resolved as written, so that `/etc/hosts` and search domains work for them.
    extra_ports: besides 80, 443, 8080 and 8443.
    resolver: test seam, (host, port) -> addresses as text; may raise OSError.
    """

    allow_hosts: frozenset[str] = frozenset()
    extra_ports: frozenset[int] = frozenset()
    resolver: Resolver | None = None
    _approved: frozenset[tuple[str, int | None]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_approved", frozenset(_approval(entry) for entry in self.allow_hosts))

    def approves(self, host: str, port: int) -> bool:
        return (host, None) in self._approved or (host, port) in self._approved


@dataclass(frozen=True)
class Target:
    """A URL that passed: where to connect (`addresses`, all checked) and what to ask for (`path`)."""

    scheme: str
    host: str  # lower-case ASCII name, or an address without brackets
    port: int
    path: str  # request target: path and query, percent-encoded
    addresses: tuple[str, ...] = ()
    private: bool = False  # reached only because the operator approved it

    @property
    def authority(self) -> str:
        """The Host header: RFC 9110 7.2 leaves the default port out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port


def check_url(url: str, policy: OutboundPolicy, *, timeout: float = DNS_TIMEOUT) -> Target:
    """Parse, resolve, judge; never connects.

    timeout: seconds the name lookup may take.
    Raises BlockedAddress (unsafe or forbidden), BadRequest (not a URL at all), Upstream (the name does not
    resolve; `retryable` unless the answer was "no such name").
    """
    target = parse_url(url)
    approved = policy.approves(target.host, target.port)
    _check_port(target.port, policy, approved)
    if _ip(target.host) is not None:
        addresses = [target.host]
    else:
        _check_name(target.host, approved)
        addresses = _resolve(target.host, target.port, policy.resolver, approved, timeout)
    private = _check_addresses(target.host, addresses, approved)
    return Target(target.scheme, target.host, target.port, target.path, tuple(addresses), private)


def precheck_url(url: str, policy: OutboundPolicy) -> Target:
    """What can be judged without asking a name server: for answering at once when a URL is handed in.

    Passing is no permission; `safe_fetch` resolves and judges again. Raises as `check_url`, without Upstream.
    """
    target = parse_url(url)
    approved = policy.approves(target.host, target.port)
    _check_port(target.port, policy, approved)
    if _ip(target.host) is not None:
        _check_addresses(target.host, [target.host], approved)
    else:
        _check_name(target.host, approved)
    return target


# -- parsing ---------------------------------------------------------------------------------------------

UNSAFE = re.compile(r"[\x00-\x20\x7f-\x9f\s\ud800-\udfff\\]")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):")
_URL = re.compile(r"https?://([^/?#]+)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[([0-9A-Fa-f]*:[0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::([0-9]{0,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_\-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_URL_SAFE = "".join(map(chr, range(0x21, 0x7F)))


def parse_url(url: str) -> Target:
    """The only URL parser whose host we ever connect to. Stricter than RFC 3986: what two parsers could read
    differently is refused, not repaired. Raises BlockedAddress, or BadRequest for what is no URL."""
    if not isinstance(url, str) or not url:
        raise BadRequest("A URL is missing.")
    if len(url) > MAX_URL:
        raise BadRequest(f"The URL is longer than {MAX_URL} characters.")
    if UNSAFE.search(url):
        raise BlockedAddress("The URL contains spaces, control characters or a backslash.")
    scheme = _web_scheme(url)
    parts = _URL.fullmatch(url)
    if parts is None:
        raise BlockedAddress("The URL names no host.")
    host, port = _split_authority(parts[1])
    path = quote((parts[2] or "/") + (parts[3] or ""), safe=_URL_SAFE)
    return Target(scheme, normal_host(host), DEFAULT_PORTS[scheme] if port is None else port, path)


def _web_scheme(url: str) -> str:
    found = _SCHEME.match(url)
    scheme = found[1].lower() if found else ""
    if scheme not in DEFAULT_PORTS:
        raise BlockedAddress("Only http:// and https:// URLs can be fetched.")
    return scheme


def _split_authority(authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise BlockedAddress("A user name or password in the URL is not accepted.")
    if "%" in authority:
        raise BlockedAddress("A percent-encoded host or an IPv6 zone is not accepted.")
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise BlockedAddress("The host or port of the URL is malformed.")
    port = int(found[3]) if found[3] else None
    if port is not None and not 0 < port < 65536:
        raise BlockedAddress("The port of the URL is malformed.")
    return found[1] or found[2], port


def normal_host(host: str) -> str:
    """Lower-case ASCII name without the root dot, or an address in its canonical form. Raises BlockedAddress.

    Names that C libraries read as a number (`127.1`, `0x7f000001`, `017700000001`) are refused: only four
    plain decimal parts are an IPv4 address here (WHATWG URL, "ends in a number").
    """
    if ":" in host:
        return _canonical(host, ipaddress.IPv6Address)
    name = _ascii_name(host).removesuffix(".").lower()
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1]):
        return _canonical(name, ipaddress.IPv4Address)
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise BlockedAddress("The host name of the URL is malformed.")
    return name


def _canonical(host: str, family: type[IPAddress]) -> str:
    try:
        return str(family(host))
    except ValueError:
        raise BlockedAddress("The address in the URL is not written in the usual form.") from None


def _ascii_name(host: str) -> str:
    """IDNA (UTS 46). Look-alikes of ASCII (fullwidth and circled digits, dots of other scripts) are refused:
    each step that normalises them is a chance for two programs to disagree."""
    if host.isascii():
        return host
    for char in host:
        if not char.isascii() and any(c.isascii() for c in unicodedata.normalize("NFKC", char)):
            raise BlockedAddress("The host name uses look-alikes of plain letters, digits or dots.")
    import idna

    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except UnicodeError:  # IDNAError is one
        raise BlockedAddress("The host name is not a valid internationalised name.") from None


def _approval(entry: str) -> tuple[str, int | None]:
    """An `allow_hosts` entry as (host, port). Raises ValueError: a typo in the settings must be loud."""
    text = f"[{entry}]" if entry.count(":") > 1 and "[" not in entry else entry
    try:
        host, port = _split_authority(text)
        return normal_host(host), port
    except BlockedAddress as error:
        raise ValueError(f"not a host or host:port: {entry!r} ({error.message})") from None


# -- names and ports -------------------------------------------------------------------------------------

# Never part of the public DNS, whatever a search domain or a local resolver makes of them.
LOCAL_SUFFIXES = (
    "localhost",
    "localdomain",
    "local",
    "internal",
    "intranet",
    "lan",
    "home",
    "home.arpa",
    "corp",
    "svc",
    "onion",
)
METADATA_NAMES = frozenset({"metadata.google.internal", "metadata.goog", "metadata.tencentyun.com"})


def _check_port(port: int, policy: OutboundPolicy, approved: bool) -> None:
    if not (approved or port in WEB_PORTS or port in policy.extra_ports):
        raise BlockedAddress(f"Port {port} is not open to outgoing requests.", suggestion=_ASK)


def _check_name(host: str, approved: bool) -> None:
    if host in METADATA_NAMES:
        raise BlockedAddress("That host is a cloud metadata service.")
    local = "." not in host or any(host == s or host.endswith("." + s) for s in LOCAL_SUFFIXES)
    if local and not approved:
        raise BlockedAddress("That host name belongs to a local network.", suggestion=_ASK)


_ASK = "The operator can approve this host in the outbound settings."


# -- resolving -------------------------------------------------------------------------------------------

# getaddrinfo cannot be interrupted; a dead DNS server may hold this many threads and no more.
_lookup_slots = threading.BoundedSemaphore(64)


def _resolve(host: str, port: int, resolver: Resolver | None, approved: bool, timeout: float) -> list[str]:
    """All addresses of the name, asked for once, in the order the resolver prefers."""
    if resolver is None:
        # The root dot keeps search domains out (Sentry does the same); approved names are the operator's own.
        resolver, asked = _system_lookup, host if approved else host + "."
    else:
        asked = host
    try:
        addresses = _bounded(resolver, asked, port, timeout)
    except socket.gaierror as error:
        again = error.errno == socket.EAI_AGAIN
        raise Upstream(f"{host} could not be looked up.", code="dns", retryable=again) from error
    except OSError as error:
        raise Upstream(f"{host} could not be looked up.", code="dns", retryable=True) from error
    if not addresses:
        raise Upstream(f"{host} has no address.", code="dns", retryable=False)
    return list(dict.fromkeys(addresses))


def _bounded(resolver: Resolver, host: str, port: int, timeout: float) -> list[str]:
    """Runs the lookup in a thread we can stop waiting for."""
    outcome: list[list[str] | Exception] = []
    done = threading.Event()

    def work() -> None:
        try:
            outcome.append(resolver(host, port))
        except Exception as error:
            outcome.append(error)
        finally:
            _lookup_slots.release()
            done.set()

    seconds = max(0.0, min(timeout, DNS_TIMEOUT))
    if not _lookup_slots.acquire(timeout=seconds):
        raise Upstream("Too many name lookups are waiting for an answer.", code="dns", retryable=True)
    try:
        threading.Thread(target=work, name="dns-lookup", daemon=True).start()
    except RuntimeError:  # no more threads: `work` will not give the slot back
        _lookup_slots.release()
        raise
    if not done.wait(seconds):
        raise Upstream(f"Looking up {host.rstrip('.')} took too long.", code="dns", retryable=True)
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def _system_lookup(host: str, port: int) -> list[str]:
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return [str(sockaddr[0]) for *_, sockaddr in answers]


def remembering(policy: OutboundPolicy, seconds: float = 60.0) -> OutboundPolicy:
    """`policy` for a run of many fetches: names are looked up once in so many seconds.

    Every fetch still judges the answer and connects to what it judged, so an old answer is as safe as a new one.
    """
    known: dict[tuple[str, int], tuple[float, list[str]]] = {}

    def system(host: str, port: int) -> list[str]:
        return _system_lookup(host if policy.approves(host, port) else host + ".", port)

    ask = policy.resolver or system

    def resolver(host: str, port: int) -> list[str]:
        since, found = known.get((host, port), (0.0, []))
        if not found or time.monotonic() - since > seconds:
            found = ask(host, port)
            known[host, port] = (time.monotonic(), found)
        return found

    return replace(policy, resolver=resolver)


# -- judging addresses -----------------------------------------------------------------------------------


def _check_addresses(host: str, addresses: list[str], approved: bool) -> bool:
    """One bad address rejects the name, else a mixed answer would be a coin toss. True if any is private."""
    private = False
    for text in addresses:
        reach, kind = judge(text)
        if reach == "never" or (reach == "private" and not approved):
            raise BlockedAddress(f"{host} leads to {kind}.", suggestion=_ASK if reach == "private" else None)
        private = private or reach == "private"
    return private


def judge(text: str) -> tuple[str, str]:
    """("public" | "private" | "never", the class of the address for people).

    "private" is what an operator may approve. Sources: IANA special-purpose registries (RFC 6890 and later),
    RFC 6052 and 8215 (NAT64), RFC 7526 (6to4), and the cloud vendors' metadata addresses.
    """
    if (ip := _ip(text)) is None:
        return "never", "not an address"
    ip = _embedded_v4(ip) or ip
    table = _SPECIAL_4 if ip.version == 4 else _SPECIAL_6
    for network, reach, kind in table:
        if ip in network:
            return reach, kind
    if not ip.is_global or ip.is_multicast or ip.is_reserved:
        return "never", "a reserved address"
    return "public", "a public address"


def _ip(text: str) -> IPAddress | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _embedded_v4(ip: IPAddress) -> ipaddress.IPv4Address | None:
    """The IPv4 address behind a v4-mapped or well-known NAT64 one: the packet really goes there. The other
    embeddings (v4-compatible, local NAT64, 6to4, Teredo) serve no public site and are refused whole."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped:
            return ip.ipv4_mapped
        if ip in _NAT64:
            return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return None


_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")

_PRIVATE_NET = "a private network address"
_METADATA = "a cloud metadata address"
_DOCS = "an address for documentation"
_TUNNEL = "a tunnel address"

# First match wins, so the metadata addresses stand before the networks that hold them.
_SPECIAL_4 = [
    (ipaddress.IPv4Network(network), reach, kind)
    for network, reach, kind in (
        ("100.100.100.200/32", "never", _METADATA),  # Alibaba
        ("168.63.129.16/32", "never", _METADATA),  # Azure, from public space
        ("192.0.0.192/32", "never", _METADATA),  # Oracle
        ("169.254.0.0/16", "never", "a link-local address"),  # AWS, GCP, Azure, ECS metadata
        ("0.0.0.0/8", "never", "an unspecified address"),
        ("127.0.0.0/8", "private", "a loopback address"),
        ("10.0.0.0/8", "private", _PRIVATE_NET),
        ("172.16.0.0/12", "private", _PRIVATE_NET),
        ("192.168.0.0/16", "private", _PRIVATE_NET),
        ("100.64.0.0/10", "private", "a carrier or overlay network address"),
        ("198.18.0.0/15", "private", "a test network address"),  # also the answers of fake-IP proxies
        ("192.0.0.0/24", "never", "a reserved address"),
        ("192.0.2.0/24", "never", _DOCS),
        ("198.51.100.0/24", "never", _DOCS),
        ("203.0.113.0/24", "never", _DOCS),
        ("192.88.99.0/24", "never", _TUNNEL),
        ("224.0.0.0/4", "never", "a multicast address"),
        ("240.0.0.0/4", "never", "a reserved address"),
    )
]
_SPECIAL_6 = [
    (ipaddress.IPv6Network(network), reach, kind)
    for network, reach, kind in (
        ("fd00:ec2::/32", "never", _METADATA),  # AWS
        ("fd20:ce::254/128", "never", _METADATA),  # GCP
        ("fd00:c1::a9fe:a9fe/128", "never", _METADATA),  # Oracle
        ("::1/128", "private", "a loopback address"),
        ("fc00::/7", "private", _PRIVATE_NET),
        ("fe80::/10", "never", "a link-local address"),
        ("fec0::/10", "never", "a site-local address"),
        ("ff00::/8", "never", "a multicast address"),
        ("::/128", "never", "an unspecified address"),
        ("::/96", "never", _TUNNEL),  # v4-compatible
        ("64:ff9b:1::/48", "never", _TUNNEL),  # local NAT64
        ("2002::/16", "never", _TUNNEL),  # 6to4
        ("2001::/32", "never", _TUNNEL),  # Teredo
        ("2001:db8::/32", "never", _DOCS),
        ("3fff::/20", "never", _DOCS),
        ("2001::/23", "never", "a reserved address"),
        # Only 2000::/3 is global unicast; the two halves around it are not.
        ("::/3", "never", "a reserved address"),
        ("4000::/2", "never", "a reserved address"),
        ("8000::/1", "never", "a reserved address"),
    )
]
