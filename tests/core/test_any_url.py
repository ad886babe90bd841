"""A13 to A16 with whatever Hypothesis thinks of: spellings of addresses, two parsers that differ, answers of name servers,
redirects, header lines. The tables of known tricks are in test_http.py."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from webapp.core import addresses, http
from webapp.core.addresses import MAX_URL, OutboundPolicy, Target, check_url, judge, parse_url, precheck_url
from webapp.core.errors import BadRequest, BlockedAddress, Upstream

# The same each time; `make fuzz` looks for new ones.
LOOKING = "FUZZ_SECONDS" in os.environ
often = settings(max_examples=5000 if LOOKING else 300, deadline=None, database=None, derandomize=not LOOKING,
                 suppress_health_check=[HealthCheck.filter_too_much])  # fmt: skip

PIECES = [
    "http", "https", "HTTP", "://", ":", "/", "//", "\\", "@", "?", "#", "%", "%2e", "%00", "%40", "[", "]", "[::1]", ".",
    "..", "127.0.0.1", "127.1", "0x7f.1", "2130706433", "017700000001", "localhost", "169.254.169.254", "good.example",
    "evil.example", "user", "user:pass", ":80", ":6379", ":0", ":99999", ":٣", " ", "\t", "\r\n", "\0", "。", "．", "①", "é",
    "ß", "xn--", "xn--e1afmkfd", "-", "_", "a", "\u200d", "\u00ad", "::ffff:127.0.0.1", "::", "fe80::1%25eth0", "ftp", "file",
]  # fmt: skip
urls = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=8).map(lambda parts: "http://" + "".join(parts)),
)
# Mostly accepted: hosts, ports and paths as people and attackers write them.
plausible = st.builds(
    "{}://{}{}{}".format, st.sampled_from(["http", "HTTPS", "hTTp"]),
    st.text(st.sampled_from("abcXYZ019.-_"), min_size=1, max_size=20) | st.sampled_from(["[::1]", "127.0.0.1", "A.B.", "a.b:"])
    | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map("[{}]".format),
    st.sampled_from(["", ":80", ":8443", ":", ":0080"]),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=15).map(lambda rest: rest and "/" + rest),
)  # fmt: skip
v4 = st.ip_addresses(v=4)
v6 = st.ip_addresses(v=6)
inside = st.one_of(*(
    st.ip_addresses(v=4, network=network)
    for network in ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10",
                    "0.0.0.0/8", "224.0.0.0/4", "168.63.129.16/32", "192.0.0.192/32")
))  # fmt: skip


def nowhere(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host} was looked up")


def parsed(url: str) -> Target:
    """The gate's opinion, or no example. Anything but its two refusals is a bug."""
    try:
        return parse_url(url)
    except (BlockedAddress, BadRequest):
        assume(False)
        raise


# -- parsing ---------------------------------------------------------------------------------------------------------


@often
@given(urls)
@example("http://127.0.0.1:80\\@good.example/")
@example("http://good.example\\@127.0.0.1/")
@example("http://a" + ".b" * 1022)
def test_a13_a_url_is_refused_or_plain(url: str) -> None:
    try:
        target = parse_url(url)
    except (BlockedAddress, BadRequest):
        return
    assert len(url) <= MAX_URL
    assert target.scheme in ("http", "https")
    assert re.fullmatch(r"[a-z0-9_.\-]+|[0-9a-f:.]+", target.host)
    assert 0 < target.port < 65536
    assert re.fullmatch(r"/[\x21-\x7e]*|\?[\x21-\x7e]*", target.path)
    assert "#" not in target.path
    assert parse_url(target.url) == target, "read twice, it means something else"


@often
@given(plausible)
def test_a13_other_parsers_see_the_same_host(url: str) -> None:
    """Else what was judged is not what somebody else would connect to (CVE-2026-45400)."""
    from urllib3.util import parse_url as urllib3_parse

    target = parsed(url)
    for host, port in (_of(urlsplit(url)), _of(urllib3_parse(url))):
        assert host is not None
        assert addresses.normal_host(host.strip("[]")) == target.host
        assert (port or addresses.DEFAULT_PORTS[target.scheme]) == target.port


def _of(parts: Any) -> tuple[str | None, int | None]:
    return parts.hostname if hasattr(parts, "hostname") else parts.host, parts.port


@often
@given(inside, st.sampled_from(["dec", "hex", "octal", "int", "hexint", "short", "mixed"]), st.sampled_from(["", "."]))
def test_a13_no_spelling_of_an_inner_address_gets_through(ip: Any, how: str, dot: str) -> None:
    a, b, c, d = ip.packed
    spelled = {
        "dec": str(ip), "hex": ".".join(hex(part) for part in ip.packed), "int": str(int(ip)), "hexint": hex(int(ip)),
        "octal": ".".join(f"0{part:o}" for part in ip.packed), "short": f"{a}.{(b << 16) + (c << 8) + d}",
        "mixed": f"{a:#x}.{b}.{(c << 8) + d}",
    }[how]  # fmt: skip
    policy = OutboundPolicy(resolver=nowhere)
    for look in (check_url, precheck_url):
        with pytest.raises(BlockedAddress):
            look(f"http://{spelled}{dot}/", policy)


@often
@given(st.text(st.sampled_from("0123456789abcdefxX."), min_size=1, max_size=18))
def test_a13_what_libc_reads_as_an_address_is_one_here_too(host: str) -> None:
    """`inet_aton` takes 127.1 and 0x7f000001; whoever connects by name would get there."""
    target = parsed(f"http://{host}/")
    try:
        meant = socket.inet_ntoa(socket.inet_aton(target.host))
    except OSError:
        return
    assert target.host == meant


@often
@given(st.text(st.sampled_from("①②⑦⓪１２７．。٣aé0127.ßлa"), min_size=1, max_size=12))
def test_a13_look_alikes_never_become_addresses(host: str) -> None:
    assume(not host.isascii())
    target = parsed(f"http://{host}/")
    assert addresses._ip(target.host) is None
    assert target.host.isascii()


# -- judging ---------------------------------------------------------------------------------------------------------


@often
@given(v4)
def test_a13_an_embedded_address_is_judged_no_milder(ip: Any) -> None:
    number = int(ip)
    reach = judge(str(ip))[0]
    assert reach != "public" or ip.is_global
    high, low = f"{number >> 16:x}", f"{number & 0xFFFF:x}"
    for packed in (f"::ffff:{ip}", f"::ffff:{high}:{low}", f"64:ff9b::{high}:{low}"):
        assert judge(packed)[0] == reach
    for tunnel in (f"::{ip}", f"2002:{high}:{low}::1", f"64:ff9b:1::{high}:{low}", f"2001:0:{high}:{low}::1"):
        assert judge(tunnel)[0] != "public"


@often
@given(v6)
def test_a13_public_means_global_unicast(ip: Any) -> None:
    if judge(str(ip))[0] == "public":
        ip = ip.ipv4_mapped or (ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF) if ip in addresses._NAT64 else ip)
        assert ip.is_global
        assert not any((ip.is_private, ip.is_multicast, ip.is_link_local, ip.is_loopback, ip.is_reserved))


@often
@given(st.lists(st.one_of(v4, v6, inside).map(str) | st.text(max_size=8), max_size=5), st.booleans())
def test_a15_a_name_passes_only_with_all_its_addresses(found: list[str], approved: bool) -> None:
    asked: list[str] = []

    def resolver(host: str, port: int) -> list[str]:
        asked.append(host)
        return found

    policy = OutboundPolicy(allow_hosts=frozenset({"good.example"} if approved else ()), resolver=resolver)
    good = {"public", "private"} if approved else {"public"}
    try:
        target = check_url("http://good.example/", policy)
    except BlockedAddress:
        assert any(judge(one)[0] not in good for one in found)
    except Upstream:
        assert not found
    else:
        assert {judge(one)[0] for one in found} <= good
        assert target.addresses == tuple(dict.fromkeys(found))
        assert target.private == any(judge(one)[0] == "private" for one in found)
    assert asked == ["good.example"], "looked up once"


@often
@given(st.text(max_size=30))
def test_a13_an_approval_is_a_host_or_loud(entry: str) -> None:
    try:
        policy = OutboundPolicy(allow_hosts=frozenset({entry}))
    except ValueError:
        return
    [(host, _)] = policy._approved
    assert host == addresses.normal_host(host)


# -- redirects and header lines --------------------------------------------------------------------------------------


@often
@given(urls, st.sampled_from(["http://good.example/a/b?c", "https://good.example:8443/"]))
def test_a14_a_redirect_is_read_as_any_url(location: str, base: str) -> None:
    """Whatever `Location` says: refused, or a URL that means the same to everybody, as if a person had typed it."""
    assume(all(ord(char) < 256 for char in location))  # http.client knows no others
    try:
        there = http._absolute(base, location)
        target = parse_url(there)
    except (BlockedAddress, BadRequest, Upstream):
        return
    assert not addresses.UNSAFE.search(there)
    assert addresses.normal_host((urlsplit(there).hostname or "").strip("[]")) == target.host


@often
@given(
    st.sampled_from(["GET", "POST", "get", "TRACE"]) | st.text(max_size=8),
    st.dictionaries(
        st.text(max_size=8) | st.sampled_from(["Host", "content-LENGTH", "X-A", "TE"]), st.text(max_size=12)
    ),
    st.text(max_size=10),
)
def test_a16_no_header_ends_a_line(method: str, headers: dict[str, str], agent: str) -> None:
    try:
        verb, fields, _ = http._clean_request(method, headers, None, agent)
    except BadRequest:
        return
    assert verb in http.METHODS
    for name, value in fields.items():
        assert re.fullmatch(r"[!-9;-~]+", name)
        assert not re.search(r"[\r\n\0]", value)
        assert name.lower() not in http.OWN_HEADERS
        value.encode("latin-1")
