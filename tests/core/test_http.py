"""The outbound gate against drills A13-A16 and A29 (design rules 19 and 20), and its good days."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import itertools
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.http_server import Canary, FakeSite, Request
from webapp.core import addresses, http
from webapp.core.errors import (
    BadRequest,
    BlockedAddress,
    TaskCancelled,
    TooLarge,
    UnsupportedMedia,
    Upstream,
)
from webapp.core.http import OutboundPolicy, check_url, safe_fetch, safe_stream

PUBLIC, PUBLIC_TOO = "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"
CLOSED = OutboundPolicy()


def names(**table: list[str]) -> Any:
    """A resolver that knows `a_example` as a.example; everything else is public."""
    known = {name.replace("_", "."): answers for name, answers in table.items()}
    return lambda host, port: known.get(host, [PUBLIC])


# a.example, b.example and the loopback address itself, as if the operator had approved them.
LAN = OutboundPolicy(
    allow_hosts=frozenset({"a.example", "b.example", "127.0.0.1"}),
    resolver=names(a_example=["127.0.0.1"], b_example=["127.0.0.1"]),
)


@pytest.fixture(scope="module", autouse=True)
def warm() -> None:
    """The first fetch of a process imports requests, which the short deadlines below have no time for."""
    http._adapter_class(), http._connection_classes()


@pytest.fixture
def site() -> Iterator[FakeSite]:
    with FakeSite() as running:
        yield running


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Every connection attempt, none of which gets through."""
    attempts: list[tuple[str, int]] = []

    def refuse(address: str, port: int, seconds: float) -> socket.socket:
        attempts.append((address, port))
        raise ConnectionRefusedError

    monkeypatch.setattr(http, "_dial", refuse)
    return attempts


@pytest.fixture
def internet(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """All addresses of the world lead to `site`; the list says which were used."""
    used: list[str] = []
    dial = http._dial

    def connect(address: str, port: int, seconds: float) -> socket.socket:
        used.append(address)
        return dial(site.host, site.port, seconds)

    monkeypatch.setattr(http, "_dial", connect)
    return used


# -- good days -------------------------------------------------------------------------------------------


def test_fetches_a_page(site: FakeSite) -> None:
    site.page("/a?q=1", "Grüße".encode(), {"Content-Type": 'Text/HTML; charset="UTF-8"', "X-Thing": "1"})
    page = safe_fetch(site.url("/a?q=1#part"), policy=LAN)
    assert (page.status, page.body.decode(), page.content_type) == (200, "Grüße", "text/html")
    assert (page.charset, page.headers["x-thing"], page.truncated) == ("utf-8", "1", False)
    assert (page.url, page.redirects) == (site.url("/a?q=1"), ())
    assert 0 <= page.elapsed_ms < 2000
    sent = site.requests[0].headers
    assert sent["host"] == f"127.0.0.1:{site.port}"
    assert sent["accept-encoding"] == "gzip, deflate"
    assert (sent["user-agent"], sent["connection"]) == ("Brainstem", "close")


def test_sends_method_headers_and_body(site: FakeSite) -> None:
    site.page("/", b"", status=201)
    body = b"x" * 300_000
    headers = {"Content-Type": "text/plain", "user-agent": "mine", "X-Key": "k"}
    answer = safe_fetch(site.url(), policy=LAN, method="post", headers=headers, body=body)
    assert answer.status == 201
    request = site.requests[0]
    assert (request.method, request.body, request.headers["x-key"]) == ("POST", body, "k")
    assert (request.headers["user-agent"], request.headers["content-length"]) == ("mine", "300000")


def test_error_statuses_are_answers(site: FakeSite) -> None:
    site.page("/broken", b"sorry", status=503)
    assert safe_fetch(site.url("/broken"), policy=LAN).status == 503
    assert safe_fetch(site.url("/none"), policy=LAN).status == 404


def test_host_header_and_connection_use_name_and_address(site: FakeSite, internet: list[str]) -> None:
    site.page("/", b"ok")
    assert safe_fetch("http://shop.example/", policy=OutboundPolicy(resolver=names())).body == b"ok"
    assert internet == [PUBLIC]
    assert site.requests[0].headers["host"] == "shop.example"


def test_second_address_is_tried_when_the_first_is_dead(site: FakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.page("/", b"ok")
    dial = http._dial

    def first_is_dead(address: str, port: int, seconds: float) -> socket.socket:
        if address == PUBLIC_TOO:
            raise OSError("no route")
        return dial(site.host, site.port, seconds)

    monkeypatch.setattr(http, "_dial", first_is_dead)
    policy = OutboundPolicy(resolver=names(shop_example=[PUBLIC_TOO, PUBLIC]))
    assert safe_fetch("http://shop.example/", policy=policy).body == b"ok"


def chunked(*parts: bytes) -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"


def test_reads_chunked_and_close_delimited_bodies(site: FakeSite) -> None:
    site.raw("/chunked", chunked(b"one", b"two" * 50_000))
    site.raw("/close", b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
    site.raw("/bare", b"HTTP/1.1 204 No Content\r\n\r\n")
    assert safe_fetch(site.url("/chunked"), policy=LAN).body == b"one" + b"two" * 50_000
    assert safe_fetch(site.url("/close"), policy=LAN).body == b"until the end"
    assert safe_fetch(site.url("/bare"), policy=LAN).body == b""


def test_head_has_no_body(site: FakeSite) -> None:
    site.raw("/", b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\nContent-Encoding: gzip\r\n\r\n")
    answer = safe_fetch(site.url(), policy=LAN, method="HEAD")
    assert (answer.body, answer.headers["content-length"]) == (b"", "999999999")


TEXT = b"All work and no play. " * 5000


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        ("gzip", gzip.compress(TEXT)),
        ("x-gzip", gzip.compress(TEXT[:100]) + gzip.compress(TEXT[100:])),
        ("gzip", gzip.compress(TEXT) + b"\0" * 512),
        ("deflate", zlib.compress(TEXT)),
        ("deflate", raw_deflate(TEXT)),
        ("identity", TEXT),
        ("gzip", b""),
    ],
    ids=["gzip", "members", "padding", "zlib", "raw", "identity", "empty"],
)
def test_unpacks_what_it_asked_for(site: FakeSite, encoding: str, packed: bytes) -> None:
    site.page("/whole", packed, {"Content-Encoding": encoding})
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    pieces = [packed[i : i + 1] for i in range(min(20, len(packed)))] + [packed[20:]]
    site.raw("/bits", head + chunked(*filter(None, pieces)).partition(b"\r\n\r\n")[2])
    expected = TEXT if packed else b""
    assert safe_fetch(site.url("/whole"), policy=LAN).body == expected
    assert safe_fetch(site.url("/bits"), policy=LAN).body == expected


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress"])
def test_refuses_encodings_it_did_not_ask_for(site: FakeSite, encoding: str) -> None:
    site.page("/", b"??", {"Content-Encoding": encoding})
    with pytest.raises(Upstream) as failure:
        safe_fetch(site.url(), policy=LAN)
    assert not failure.value.retryable


def test_damaged_and_cut_compression(site: FakeSite) -> None:
    site.page("/damaged", b"\x1f\x8bnonsense" * 9, {"Content-Encoding": "gzip"})
    site.page("/cut", gzip.compress(TEXT)[:-20], {"Content-Encoding": "gzip"})
    with pytest.raises(Upstream) as damaged:
        safe_fetch(site.url("/damaged"), policy=LAN)
    with pytest.raises(Upstream) as cut:
        safe_fetch(site.url("/cut"), policy=LAN)
    assert (damaged.value.retryable, cut.value.retryable) == (False, True)


def test_expected_type_is_checked_before_the_body(site: FakeSite) -> None:
    site.page("/zip", b"PK", {"Content-Type": "application/zip"})
    site.page("/html", b"<p>", {"Content-Type": "text/html; charset=utf-8"})
    site.page("/unsaid", b"?")
    site.page("/gone", b"{}", {"Content-Type": "application/json"}, status=410)
    for wanted in ("text/html", ("text/", "application/pdf")):
        with pytest.raises(UnsupportedMedia):
            safe_fetch(site.url("/zip"), policy=LAN, expected=wanted)
        assert safe_fetch(site.url("/html"), policy=LAN, expected=wanted).body == b"<p>"
        assert safe_fetch(site.url("/unsaid"), policy=LAN, expected=wanted).body == b"?"
        assert safe_fetch(site.url("/gone"), policy=LAN, expected=wanted).status == 410


def test_streams_pieces_as_they_arrive(site: FakeSite) -> None:
    seen = threading.Event()

    def talk(conn: socket.socket, request: Request) -> None:
        conn.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        assert seen.wait(5)  # the client has the first piece while the second does not exist yet
        conn.sendall(b"6\r\nsecond\r\n0\r\n\r\n")

    site.script("/", talk)
    with safe_stream(site.url(), policy=LAN) as answer:
        pieces = answer.pieces()
        assert (answer.status, next(pieces)) == (200, b"first")
        seen.set()
        assert list(pieces) == [b"second"]


def test_leaving_a_stream_hangs_up(site: FakeSite) -> None:
    site.script("/", endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000))
    with safe_stream(site.url(), policy=LAN) as answer:
        next(answer.pieces())
    assert site.idle()


def endless(head: bytes, piece: bytes) -> Any:
    def script(conn: socket.socket, request: Request) -> None:
        conn.sendall(head)
        while not request.hung_up.is_set():
            conn.sendall(piece)

    return script


def test_size_cap_fails_or_truncates(site: FakeSite) -> None:
    site.page("/", b"0123456789" * 1000)
    site.raw("/chunked", chunked(b"0123456789" * 1000))
    for path in ("/", "/chunked"):
        with pytest.raises(TooLarge):
            safe_fetch(site.url(path), policy=LAN, max_bytes=9999)
        assert len(safe_fetch(site.url(path), policy=LAN, max_bytes=10_000).body) == 10_000
        cut = safe_fetch(site.url(path), policy=LAN, max_bytes=15, on_too_large="truncate")
        assert (cut.body, cut.truncated) == (b"012345678901234", True)


def test_cancel_mid_body(site: FakeSite) -> None:
    looks = itertools.count()
    site.script("/", endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000))
    with pytest.raises(TaskCancelled):
        safe_fetch(site.url(), policy=LAN, cancelled=lambda: next(looks) > 20)
    assert site.idle()


def test_cancel_is_seen_while_the_server_is_silent(site: FakeSite) -> None:
    asked = threading.Event()

    def silent(conn: socket.socket, request: Request) -> None:
        asked.set()
        request.hung_up.wait(10)

    site.script("/", silent)
    started = time.monotonic()
    with pytest.raises(TaskCancelled):
        safe_fetch(site.url(), policy=LAN, cancelled=asked.is_set)
    assert time.monotonic() - started < 3


def test_cancelled_before_it_began(site: FakeSite) -> None:
    with pytest.raises(TaskCancelled):
        safe_fetch(site.url(), policy=LAN, cancelled=lambda: True)
    assert site.connections == 0


def test_nothing_leaks(site: FakeSite) -> None:
    site.page("/", b"ok")
    site.redirect("/moved", "/")
    site.script("/endless", endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000))
    site.raw("/junk", b"junk")
    safe_fetch(site.url(), policy=LAN)
    assert site.idle()
    before = open_files()
    for _ in range(20):
        safe_fetch(site.url("/moved"), policy=LAN)
        safe_fetch(site.url("/endless"), policy=LAN, max_bytes=10, on_too_large="truncate")
        with pytest.raises(Upstream):
            safe_fetch(site.url("/junk"), policy=LAN)
    assert site.idle()
    assert open_files() == before


def open_files() -> int:
    return len(os.listdir("/dev/fd")) if os.path.isdir("/dev/fd") else 0


def test_many_threads_at_once(site: FakeSite) -> None:
    site.page("/", b"ok")
    bodies: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: bodies.append(safe_fetch(site.url(), policy=LAN).body)) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert bodies == [b"ok"] * 20


def test_dead_servers_and_names(site: FakeSite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    site.raw("/cut", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort")
    site.raw("/silent", b"")
    for url, code in (
        (f"http://127.0.0.1:{port}/", "unreachable"),  # nothing was sent, so sending again does no harm
        (site.url("/cut"), "connection"),
        (site.url("/silent"), "connection"),
    ):
        with pytest.raises(Upstream) as failure:
            safe_fetch(url, policy=LAN)
        assert (failure.value.retryable, failure.value.code) == (True, code)


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (socket.gaierror(socket.EAI_NONAME, "no such name"), False),
        (socket.gaierror(socket.EAI_AGAIN, "later"), True),
        (OSError("broken"), True),
    ],
)
def test_failed_lookups(error: OSError, retryable: bool) -> None:
    def fail(host: str, port: int) -> list[str]:
        raise error

    with pytest.raises(Upstream) as failure:
        check_url("http://shop.example/", OutboundPolicy(resolver=fail))
    assert (failure.value.code, failure.value.retryable) == ("dns", retryable)


def test_a_name_server_that_never_answers_is_left_alone() -> None:
    answer = threading.Event()

    def stuck(host: str, port: int) -> list[str]:
        answer.wait(10)
        return [PUBLIC]

    with pytest.raises(Upstream) as failure:
        safe_fetch("http://shop.example/", policy=OutboundPolicy(resolver=stuck), timeout=0.1)
    answer.set()
    assert failure.value.retryable


def test_importing_the_gate_is_cheap() -> None:
    code = "import sys, webapp.core.http; sys.exit(any(m in sys.modules for m in ('requests', 'urllib3', 'ssl')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- https -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate for a.example, its key); it is its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "a.example")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("a.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def secure_site(certificates: tuple[Path, Path]) -> Iterator[FakeSite]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificates)
    with FakeSite(context) as running:
        yield running


@pytest.fixture
def trusted(certificates: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context(cafile=certificates[0])
    monkeypatch.setattr(http, "_tls_context", lambda: context)


@pytest.mark.usefixtures("trusted")
def test_https_pins_the_address_and_verifies_the_name(secure_site: FakeSite) -> None:
    secure_site.page("/", TEXT)
    assert safe_fetch(secure_site.url(host="a.example"), policy=LAN).body == TEXT
    assert secure_site.requests[0].headers["host"] == f"a.example:{secure_site.port}"


@pytest.mark.usefixtures("trusted")
def test_https_refuses_a_certificate_for_another_name(secure_site: FakeSite) -> None:
    for host in ("b.example", "127.0.0.1"):
        with pytest.raises(Upstream) as failure:
            safe_fetch(secure_site.url(host=host), policy=LAN)
        assert (failure.value.code, failure.value.retryable) == ("tls", False)
    assert secure_site.requests == []


def test_https_refuses_an_unknown_authority(secure_site: FakeSite) -> None:
    with pytest.raises(Upstream) as failure:
        safe_fetch(secure_site.url(host="a.example"), policy=LAN)
    assert (failure.value.code, failure.value.retryable) == ("tls", False)


@pytest.mark.usefixtures("trusted")
def test_https_deadline_cancel_and_hang_up(secure_site: FakeSite) -> None:
    secure_site.script("/silent", lambda conn, request: bool(conn.recv(1)))
    secure_site.script("/endless", endless(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000))
    with pytest.raises(Upstream) as late:
        safe_fetch(secure_site.url("/silent", host="a.example"), policy=LAN, timeout=0.4)
    assert late.value.code == "timeout"
    cut = safe_fetch(secure_site.url("/endless", "a.example"), policy=LAN, max_bytes=5, on_too_large="truncate")
    assert cut.body == b"xxxxx"


# -- A13: addresses --------------------------------------------------------------------------------------

PAYLOADS = r"""
http://127.0.0.1/  http://127.1/  http://2130706433/  http://0x7f000001/  http://0x7f.1/
http://017700000001/  http://0177.0.0.1/  http://0/  http://0.0.0.0/
http://localhost/  http://LOCALHOST./  http://foo.localhost/  http://①②⑦.⓪.⓪.①/
http://[::1]/  http://[::]/  http://[::ffff:127.0.0.1]/  http://[::ffff:7f00:1]/
http://[::127.0.0.1]/  http://[64:ff9b::7f00:1]/  http://[64:ff9b:1::a00:1]/  http://[2002:7f00:1::]/
http://[fec0::1]/  http://[2001:0:7f00:1::]/  http://[fe80::1]/  http://[fe80::1%25eth0]/  http://[ff02::1]/
http://169.254.169.254/latest/meta-data/  http://2852039166/  http://0xa9fea9fe/  http://[fd00:ec2::254]/
http://169.254.170.2/  http://metadata.google.internal/  http://100.100.100.200/  http://192.0.0.192/
http://168.63.129.16/  http://10.0.0.1/  http://172.16.0.1/  http://192.168.0.1/  http://100.64.0.1/
http://198.18.0.1/  http://224.0.0.1/  http://255.255.255.255/  http://192.88.99.1/
http://127.0.0.1:80\@good.example/  http://good.example\@127.0.0.1/  http://127.0.0.1\.good.example/
http://good.example:80@127.0.0.1/  http://good.example%00.evil/  http://１２７.0.0.1/
http://127。0。0。1/  http://127.0.0.1%2f@good.example/  http://127.0.0.­1/  http://[::1/  http://[1.2.3.4]/
file:///etc/passwd  gopher://127.0.0.1:6379/_FLUSHALL  dict://127.0.0.1:11211/  ftp://127.0.0.1/
data:text/html,x  jar:http://x!/  unix:/run/docker.sock  http+unix://x/  http:127.0.0.1  http:/127.0.0.1/
http:///127.0.0.1/  //127.0.0.1/  http://127.0.0.1.nip.io/  http://kubernetes.default.svc/
http://redis:6379/  http://host.docker.internal/  http://good..example/  http://-/
"""
A13 = [*PAYLOADS.split(), "http://good.example\t@127.0.0.1/", " http://127.0.0.1/", "http://127.0.0.1 /"]


def rumours() -> list[str]:
    """The shared payload collection, where there is one."""
    import gzip as packed

    if not (file := rumour_file()).exists():
        return []
    with packed.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["url"] for line in lines]


def rumour_file() -> Path:
    shared = os.environ.get("BRAINSTEM_SHARED") or Path(__file__).parents[2].parent / "shared"
    return Path(shared, "data", "strings", "ssrf_urls.jsonl.gz")


# Names of the public DNS that point inside.
LIARS = names(
    **{
        "127_0_0_1_nip_io": ["127.0.0.1"],
        "ssrf_localdomain_pw": ["169.254.169.254"],
        "good_example": [PUBLIC],
    }
)


@pytest.mark.parametrize("url", A13)
def test_a13_payload_is_blocked(url: str, dialled: list[tuple[str, int]]) -> None:
    with pytest.raises(BlockedAddress) as refusal:
        safe_fetch(url, policy=OutboundPolicy(resolver=LIARS))
    assert (refusal.value.status, refusal.value.code, dialled) == (400, "blocked_address", [])


@pytest.mark.skipif(not rumour_file().exists(), reason="the shared payload collection is not on this machine")
def test_a13_shared_payloads_are_blocked(dialled: list[tuple[str, int]]) -> None:
    urls = rumours()
    assert len(urls) > 30
    for url in urls:
        with pytest.raises(BlockedAddress):
            safe_fetch(url, policy=OutboundPolicy(resolver=LIARS))
    assert dialled == []


def test_a13_canary_sees_nobody() -> None:
    """The same payloads over real sockets, aimed at a port where someone listens."""
    with Canary() as canary:
        policy = OutboundPolicy(extra_ports=frozenset({canary.port}), resolver=LIARS)
        for url in [*A13, *rumours()]:
            with pytest.raises(BlockedAddress):
                safe_fetch(aimed(url, canary.port), policy=policy, timeout=0.5)
        assert canary.visitors() == 0
        # Given approval, the same canary is reached: it would have seen the others.
        approved = OutboundPolicy(allow_hosts=frozenset({"127.0.0.1"}))
        with pytest.raises(TaskCancelled):
            url = f"http://127.0.0.1:{canary.port}/"
            safe_fetch(url, policy=approved, cancelled=lambda: canary.visitors() == 1)


def aimed(url: str, port: int) -> str:
    """The URL with this port, where it has a plain authority."""
    return re.sub(r"^(https?://(?:\[[^\]/]*\]|[^/:@\\]+))(?::\d+)?/", rf"\g<1>:{port}/", url)


@pytest.mark.parametrize("text", ["127.0.0.1", "10.1.2.3", "::1", "fd12::1", "::ffff:192.168.1.1", "100.64.0.9"])
def test_a13_private_addresses_need_approval(text: str) -> None:
    with pytest.raises(BlockedAddress) as refusal:
        check_url("http://shop.example/", OutboundPolicy(resolver=names(shop_example=[text])))
    assert text not in refusal.value.message
    approved = OutboundPolicy(frozenset({"shop.example"}), resolver=names(shop_example=[text]))
    assert check_url("http://shop.example/", approved).private


NEVER = """
169.254.169.254  169.254.1.1  fe80::1  fe80::1%1  fd00:ec2::254  100.100.100.200  168.63.129.16  192.0.0.192
0.0.0.0  ::  224.0.0.1  255.255.255.255  ff02::1  ::ffff:169.254.169.254  64:ff9b::a9fe:a9fe  fec0::1
2002:a9fe:a9fe::  ::ffff:0:127.0.0.1  4000::1  e000::1  nonsense
"""


@pytest.mark.parametrize("text", NEVER.split())
def test_a13_metadata_and_link_local_stay_blocked_even_if_approved(text: str) -> None:
    policy = OutboundPolicy(frozenset({"shop.example"}), resolver=names(shop_example=[text]))
    with pytest.raises(BlockedAddress):
        check_url("http://shop.example/", policy)


def test_a13_metadata_names_stay_blocked_even_if_approved() -> None:
    policy = OutboundPolicy(frozenset({"metadata.google.internal"}), resolver=names())
    with pytest.raises(BlockedAddress):
        check_url("http://metadata.google.internal/", policy)


@pytest.mark.parametrize("text", [PUBLIC, PUBLIC_TOO, "8.8.8.8", "64:ff9b::808:808", "::ffff:8.8.8.8", "2a00::1"])
def test_a13_public_addresses_pass(text: str) -> None:
    assert check_url("http://shop.example/", OutboundPolicy(resolver=names(shop_example=[text]))).addresses == (text,)
    assert addresses.judge(text)[0] == "public"


def test_a13_every_special_v4_network_is_refused_in_every_wrapping() -> None:
    for network, *_ in addresses._SPECIAL_4:
        for inner in (network[0], network[-1]):
            bits = int(inner)
            wrappings = [
                inner,
                ipaddress.IPv6Address(0xFFFF << 32 | bits),
                ipaddress.IPv6Address(bits),
                ipaddress.IPv6Address((0x64FF9B << 96) | bits),
                ipaddress.IPv6Address((0x64FF9B0001 << 80) | bits),
                ipaddress.IPv6Address((0x2002 << 112) | (bits << 80)),
                ipaddress.IPv6Address((0x20010000 << 96) | (bits ^ 0xFFFFFFFF)),
            ]
            assert not [str(ip) for ip in wrappings if addresses.judge(str(ip))[0] == "public"]


def test_a13_approval_is_for_that_host_and_port_only(site: FakeSite) -> None:
    site.page("/", b"ok")
    resolver = names(llm_lan=["127.0.0.1"])
    for entry in ("llm.lan", f"LLM.lan:{site.port}", f"llm.lan.:{site.port}"):
        policy = OutboundPolicy(frozenset({entry}), resolver=resolver)
        assert safe_fetch(site.url(host="llm.lan"), policy=policy).body == b"ok"
        with pytest.raises(BlockedAddress):
            safe_fetch(site.url(), policy=policy)
    with pytest.raises(BlockedAddress):
        check_url(site.url(host="llm.lan"), OutboundPolicy(frozenset({"llm.lan:1"}), resolver=resolver))
    with pytest.raises(BlockedAddress):
        check_url(site.url(host="x.llm.lan"), OutboundPolicy(frozenset({"llm.lan"}), resolver=resolver))


def test_a13_approved_ipv6_literals() -> None:
    for entry in ("::1", "[::1]", "[::1]:11434", "[0:0:0:0:0:0:0:1]:11434"):
        target = check_url("http://[::1]:11434/v1", OutboundPolicy(frozenset({entry})))
        assert (target.addresses, target.authority) == (("::1",), "[::1]:11434")


@pytest.mark.parametrize("entry", ["http://llm.lan", "user@llm.lan", "llm lan", "llm.lan:99999", "127.1", ""])
def test_a13_a_typo_in_the_approvals_is_loud(entry: str) -> None:
    with pytest.raises(ValueError, match="not a host"):
        OutboundPolicy(frozenset({entry}))


@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("HTTP://Shop.Example", "shop.example", "/"),
        ("https://shop.example.?q=ü&r=a b".replace(" ", "+"), "shop.example", "/?q=%C3%BC&r=a+b"),
        ("http://bücher.example/ö%20ä", "xn--bcher-kva.example", "/%C3%B6%20%C3%A4"),
        ("http://faß.example/", "xn--fa-hia.example", "/"),
        ("http://shop.example:/a//b/../c#x", "shop.example", "/a//b/../c"),
        ("http://foo_bar.example/@x:y", "foo_bar.example", "/@x:y"),
    ],
)
def test_a13_ordinary_urls_are_understood(url: str, host: str, path: str) -> None:
    target = check_url(url, OutboundPolicy(resolver=names()))
    assert (target.host, target.path) == (host, path)
    assert addresses.parse_url(target.url).origin == target.origin


@pytest.mark.parametrize("url", ["", "http://shop.example/" + "a" * 2048, None])
def test_a13_what_is_no_url_is_a_bad_request(url: Any) -> None:
    with pytest.raises(BadRequest) as refusal:
        check_url(url, CLOSED)
    assert refusal.value.code == "bad_request"


# -- A14: redirects --------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "PUT"])
def test_a14_method_and_body_after_a_redirect(site: FakeSite, status: int, method: str) -> None:
    site.redirect("/old", "/new?x=1", status)
    site.page("/new?x=1", b"")
    body = b"data" if method in ("POST", "PUT") else None
    answer = safe_fetch(site.url("/old"), policy=LAN, method=method, body=body, headers={"Content-Type": "text/x"})
    becomes_get = (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST")
    last = site.requests[-1]
    assert (last.method, last.body) == (("GET", b"") if becomes_get else (method, body or b""))
    assert ("content-type" in last.headers) is not becomes_get
    assert (answer.url, answer.redirects) == (site.url("/new?x=1"), (site.url("/old"),))


@pytest.mark.parametrize(
    "location",
    [
        "//127.0.0.1/",
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::ffff:169.254.169.254]/",
        "http://2130706433/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:6379/_FLUSHALL",
        "http://inside.example/",
        "http://shop.example:6379/",
        "http://good.example\\@127.0.0.1/",
        "/\t/127.0.0.1/",
        "http://a:b@shop.example/",
        "javascript:alert(1)",
    ],
)
def test_a14_each_hop_is_judged_anew(site: FakeSite, internet: list[str], location: str) -> None:
    site.redirect("/", location)
    policy = OutboundPolicy(resolver=names(inside_example=["10.0.0.7"]))
    with pytest.raises(BlockedAddress) as refusal:
        safe_fetch("http://shop.example/", policy=policy)
    assert "redirect" in refusal.value.message
    assert internet == [PUBLIC]


def test_a14_a_public_page_cannot_send_us_to_an_approved_private_host(site: FakeSite, internet: list[str]) -> None:
    site.redirect("/", "http://llm.lan/api/delete")
    policy = OutboundPolicy(frozenset({"llm.lan"}), resolver=names(llm_lan=["127.0.0.1"]))
    with pytest.raises(BlockedAddress):
        safe_fetch("http://shop.example/", policy=policy)
    assert internet == [PUBLIC]


def test_a14_https_to_http_is_refused(secure_site: FakeSite, site: FakeSite, trusted: None) -> None:
    secure_site.redirect("/", site.url(host="a.example"))
    with pytest.raises(BlockedAddress):
        safe_fetch(secure_site.url(host="a.example"), policy=LAN)
    assert site.connections == 0


def test_a14_loops_and_long_chains_end(site: FakeSite) -> None:
    site.redirect("/self", "/self")
    site.redirect("/ping", "/pong")
    site.redirect("/pong", "/ping#x")
    for hop in range(11):
        site.redirect(f"/{hop}", f"/{hop + 1}")
    site.page("/11", b"there")
    for path, code in (("/self", "redirect_loop"), ("/ping", "redirect_loop"), ("/0", "too_many_redirects")):
        with pytest.raises(Upstream) as failure:
            safe_fetch(site.url(path), policy=LAN)
        assert (failure.value.code, failure.value.retryable) == (code, False)
    assert [r.path for r in site.requests[-6:]] == ["/0", "/1", "/2", "/3", "/4", "/5"]
    assert safe_fetch(site.url("/6"), policy=LAN).body == b"there"


def test_a14_redirects_need_not_be_followed(site: FakeSite) -> None:
    site.redirect("/", "http://127.0.0.1:6379/")
    answer = safe_fetch(site.url(), policy=LAN, max_redirects=0)
    assert (answer.status, answer.body, answer.redirects) == (302, b"moved", ())


def test_a14_refresh_is_not_followed(site: FakeSite) -> None:
    body = b'<meta http-equiv="refresh" content="0;url=http://127.0.0.1/">'
    site.page("/", body, {"Refresh": "0; url=http://127.0.0.1/", "Location": "http://127.0.0.1/"})
    site.page("/bare", b"no location", status=302)
    assert safe_fetch(site.url(), policy=LAN).body == body
    assert safe_fetch(site.url("/bare"), policy=LAN).status == 302


SECRETS = {
    "Authorization": "Bearer s",
    "Cookie": "s=1",
    "X-API-Key": "s",
    "api-key": "s",
    "Accept": "text/html",
}


def test_a14_credentials_are_dropped_on_host_change(site: FakeSite) -> None:
    site.redirect("/", site.url("/there", host="b.example"))
    site.redirect("/there", site.url("/back", host="a.example"))
    site.page("/back")
    safe_fetch(site.url(host="a.example"), policy=LAN, headers=SECRETS)
    first, *rest = site.requests
    assert first.headers["authorization"] == "Bearer s"
    for request in rest:
        assert not {"authorization", "cookie", "x-api-key", "api-key"} & request.headers.keys()
        assert request.headers["accept"] == "text/html"


def test_a14_credentials_are_dropped_on_port_change_and_kept_at_home(site: FakeSite) -> None:
    with FakeSite() as neighbour:
        site.redirect("/", "/here")
        site.redirect("/here", neighbour.url())
        neighbour.page("/")
        safe_fetch(site.url(), policy=LAN, headers=SECRETS)
        assert site.requests[-1].headers["x-api-key"] == "s"
        assert "x-api-key" not in neighbour.requests[0].headers


def test_a14_an_upgrade_to_https_keeps_credentials() -> None:
    plain, secure, other = (
        addresses.parse_url(url) for url in ("http://a.example/", "https://a.example/", "https://b.example/")
    )
    assert http._same_owner(plain, secure)
    assert not http._same_owner(secure, plain)
    assert not http._same_owner(plain, other)


def test_a14_cookies_are_not_carried(site: FakeSite) -> None:
    site.page("/", b"", {"Location": "/next", "Set-Cookie": "track=1; Path=/"}, status=302)
    site.page("/next")
    safe_fetch(site.url(), policy=LAN)
    safe_fetch(site.url("/next"), policy=LAN)
    assert not any("cookie" in request.headers for request in site.requests)


def test_a14_locations_as_servers_really_write_them(site: FakeSite) -> None:
    site.redirect("/", "/größe mit leer")
    site.page("/gr%C3%B6%C3%9Fe%20mit%20leer", b"ok")
    site.raw("/old", b"HTTP/1.1 302 X\r\nContent-Length: 0\r\nLocation: /caf\xe9\r\n\r\n")
    site.page("/caf%E9", b"latin")
    assert safe_fetch(site.url(), policy=LAN).body == b"ok"
    assert safe_fetch(site.url("/old"), policy=LAN).body == b"latin"


def test_a14_body_of_a_redirect_is_not_read(site: FakeSite) -> None:
    head = b"HTTP/1.1 302 Found\r\nLocation: /done\r\nTransfer-Encoding: chunked\r\n\r\n"
    site.script("/", endless(head, b"5\r\nxxxxx\r\n"))
    site.page("/done", b"ok")
    assert safe_fetch(site.url(), policy=LAN).body == b"ok"
    assert site.idle()


def test_a14_an_absurd_location_is_the_servers_fault(site: FakeSite) -> None:
    site.redirect("/", "/" + "a" * 3000)
    with pytest.raises(Upstream) as failure:
        safe_fetch(site.url(), policy=LAN)
    assert not failure.value.retryable


# -- A15: names ------------------------------------------------------------------------------------------


def test_a15_rebinding_meets_the_checked_address(site: FakeSite, internet: list[str]) -> None:
    site.page("/", b"ok")
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC] if len(asked) == 1 else ["127.0.0.1"]

    assert safe_fetch("http://evil.example/", policy=OutboundPolicy(resolver=rebinding)).body == b"ok"
    assert (asked, internet) == (["evil.example"], [PUBLIC])


def test_a15_rebinding_between_hops_is_blocked(site: FakeSite, internet: list[str]) -> None:
    site.redirect("/", "/again")
    turns = iter([[PUBLIC], ["127.0.0.1"]])
    with pytest.raises(BlockedAddress):
        safe_fetch("http://evil.example/", policy=OutboundPolicy(resolver=lambda host, port: next(turns)))
    assert internet == [PUBLIC]


@pytest.mark.parametrize(
    "answers",
    [
        [PUBLIC, "127.0.0.1"],
        ["127.0.0.1", PUBLIC],
        [PUBLIC, PUBLIC_TOO, "::1"],
        ["fd00::1"],
        ["::ffff:10.0.0.1"],
        ["fe80::1%eth0"],
    ],
    ids=["mixed", "mixed-reversed", "mixed-v6", "aaaa-only", "mapped", "zone"],
)
def test_a15_one_bad_address_rejects_the_name(answers: list[str], dialled: list[tuple[str, int]]) -> None:
    policy = OutboundPolicy(resolver=names(evil_example=answers))
    with pytest.raises(BlockedAddress):
        safe_fetch("https://evil.example/", policy=policy)
    assert dialled == []


def test_a15_search_domains_are_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def lookup(host: str, port: int) -> list[str]:
        asked.append(host)
        return [PUBLIC]

    monkeypatch.setattr(addresses, "_system_lookup", lookup)
    check_url("http://shop.example/", CLOSED)
    check_url("http://ollama:11434/", OutboundPolicy(frozenset({"ollama"})))
    assert asked == ["shop.example.", "ollama"]


def test_a15_real_resolver_finds_an_approved_localhost(site: FakeSite) -> None:
    site.page("/", b"ok")
    policy = OutboundPolicy(frozenset({f"localhost:{site.port}"}))
    assert safe_fetch(site.url(host="localhost"), policy=policy).body == b"ok"


def test_a15_no_answer_at_all() -> None:
    with pytest.raises(Upstream) as failure:
        check_url("http://shop.example/", OutboundPolicy(resolver=names(shop_example=[])))
    assert not failure.value.retryable


# -- A16: ports, smuggling, proxies ----------------------------------------------------------------------


@pytest.mark.parametrize("port", [21, 22, 25, 81, 5432, 6379, 9200, 11211, 65535])
def test_a16_ports_need_a_rule(port: int, dialled: list[tuple[str, int]]) -> None:
    url = f"http://shop.example:{port}/"
    with pytest.raises(BlockedAddress):
        safe_fetch(url, policy=OutboundPolicy(resolver=names()))
    assert dialled == []
    assert check_url(url, OutboundPolicy(extra_ports=frozenset({port}), resolver=names())).port == port
    assert check_url(url, OutboundPolicy(frozenset({f"shop.example:{port}"}), resolver=names())).port == port


@pytest.mark.parametrize("port", [80, 443, 8080, 8443])
def test_a16_web_ports_are_open(port: int) -> None:
    assert check_url(f"http://shop.example:{port}/", OutboundPolicy(resolver=names())).port == port


@pytest.mark.parametrize("port", ["0", "65536", "99999", "٨٠", "８０", "-1", "80a", "+80", "8_0"])
def test_a16_odd_ports_are_refused(port: str) -> None:
    with pytest.raises(BlockedAddress):
        check_url(f"http://shop.example:{port}/", OutboundPolicy(resolver=names()))


@pytest.mark.parametrize(
    "call",
    [
        {"url": "http://127.0.0.1/\r\nSET x 1\r\n"},
        {"url": "http://127.0.0.1/?a=\nb"},
        {"url": "http://127.0.0.1\r\n.example/"},
        {"url": "http://127.0.0.1/\0"},
        {"url": "http://127.0.0.1/\u2028"},
        {"url": "http://127.0.0.1/\ud800"},
        {"method": "GET\r\nX: 1"},
        {"method": "GET /x HTTP/1.1\r\n"},
        {"method": "CONNECT"},
        {"method": "TRACE"},
        {"method": ""},
        {"headers": {"X\r\nY": "1"}},
        {"headers": {"X:": "1"}},
        {"headers": {"": "1"}},
        {"headers": {"X Y": "1"}},
        {"headers": {"X": "1\r\nSET x 1"}},
        {"headers": {"X": "1\n b"}},
        {"headers": {"X": "1\0"}},
        {"headers": {"X": "☃"}},
        {"headers": {"Host": "inside"}},
        {"headers": {"Content-Length": "5"}},
        {"headers": {"transfer-encoding": "chunked"}},
        {"headers": {"Connection": "upgrade"}},
        {"user_agent": "x\r\ny"},
    ],
)
def test_a16_what_could_smuggle_is_a_bad_request(call: dict[str, Any], site: FakeSite) -> None:
    with pytest.raises(BadRequest) as refusal:
        safe_fetch(**{"url": site.url(), "policy": LAN, **call})
    assert refusal.value.status == 400
    assert site.connections == 0


def test_a16_bodies_are_bytes(site: FakeSite) -> None:
    with pytest.raises(TypeError):
        safe_fetch(site.url(), policy=LAN, method="POST", body="text")  # type: ignore[arg-type]


def test_a16_environment_is_ignored(site: FakeSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    site.page("/", b"ok")
    with Canary() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        assert safe_fetch(site.url(), policy=LAN).body == b"ok"
        assert proxy.visitors() == 0
    assert "authorization" not in site.requests[0].headers


# -- A29: servers that never let go ----------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\n"


def drip(head: bytes, piece: bytes) -> Any:
    """`piece` every 50 ms: well inside any timeout per read."""

    def script(conn: socket.socket, request: Request) -> None:
        conn.sendall(head)
        while not request.hung_up.wait(0.05):
            conn.sendall(piece)

    return script


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"", b"H"),
        (OK, b"X"),
        (OK, b"X: 1\r\n"),
        (OK + b"\r\n", b"x"),
        (OK + b"Content-Length: 1000\r\n\r\n", b"x"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: 1\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["status", "header", "headers", "body", "length", "chunks", "chunk-size", "trailers", "1xx"],
)
def test_a29_a_dripping_server_meets_the_deadline(site: FakeSite, head: bytes, piece: bytes) -> None:
    site.script("/", drip(head, piece))
    started = time.monotonic()
    with pytest.raises(Upstream) as failure:
        safe_fetch(site.url(), policy=LAN, timeout=0.4)
    assert time.monotonic() - started < 3
    assert (failure.value.code, failure.value.retryable) == ("timeout", True)
    assert site.idle()


def test_a29_a_silent_server_meets_the_deadline(site: FakeSite) -> None:
    def wait(conn: socket.socket, request: Request) -> None:
        conn.recv(1)  # returns when the client hangs up

    site.script("/", wait)
    with pytest.raises(Upstream) as failure:
        safe_fetch(site.url(), policy=LAN, timeout=0.4)
    assert (failure.value.code, failure.value.retryable) == ("timeout", True)
    assert site.idle()


def test_a29_the_deadline_covers_all_hops(site: FakeSite) -> None:
    def slow(target: str) -> Any:
        def script(conn: socket.socket, request: Request) -> None:
            request.hung_up.wait(0.2)
            conn.sendall(f"HTTP/1.1 302 X\r\nLocation: {target}\r\n\r\n".encode())

        return script

    for hop in range(5):
        site.script(f"/{hop}", slow(f"/{hop + 1}"))
    started = time.monotonic()
    with pytest.raises(Upstream) as failure:
        safe_fetch(site.url("/0"), policy=LAN, timeout=0.5)
    assert (failure.value.code, time.monotonic() - started < 3) == ("timeout", True)


def test_a29_a_server_that_never_reads_meets_the_deadline(site: FakeSite) -> None:
    with Canary() as deaf, pytest.raises(Upstream) as failure:
        safe_fetch(f"http://127.0.0.1:{deaf.port}/", policy=LAN, method="POST", body=b"x" * 2**25, timeout=0.4)
    assert (failure.value.code, failure.value.retryable) == ("timeout", True)


def test_a29_tls_stall_meets_the_deadline() -> None:
    with Canary() as stall, pytest.raises(Upstream) as failure:
        safe_fetch(f"https://127.0.0.1:{stall.port}/", policy=LAN, timeout=0.4)
    assert (failure.value.code, failure.value.retryable) == ("timeout", True)


def test_a29_tls_against_a_plain_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        greeted: list[socket.socket] = []  # kept open: a close would race with the greeting

        def greet() -> None:
            greeted.append(plain.accept()[0])
            greeted[0].sendall(b"HTTP/1.1 400 Speak plainly\r\n\r\n")

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(Upstream) as failure:
            safe_fetch(f"https://127.0.0.1:{plain.getsockname()[1]}/", policy=LAN, timeout=5)
        greeted[0].close()
    assert (failure.value.code, failure.value.retryable) == ("tls", False)


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (OK, b"X-Filler: " + b"y" * 1000 + b"\r\n"),
        (OK, b"X: 1\r\n"),
        (OK + b"X: ", b"y" * 10_000),
        (b"", b"y" * 10_000),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n" + b"X: y\r\n" * 90 + b"\r\n"),
    ],
    ids=[
        "fat-headers",
        "10000-headers",
        "10-MB-header",
        "status-line",
        "endless-100",
        "endless-103",
        "fat-100",
    ],
)
def test_a29_endless_headers_end_at_once(site: FakeSite, head: bytes, piece: bytes) -> None:
    site.script("/", endless(head, piece))
    started = time.monotonic()
    with pytest.raises(Upstream) as failure:
        safe_fetch(site.url(), policy=LAN, timeout=10)
    assert time.monotonic() - started < 5
    assert not failure.value.retryable
    assert site.idle()


def test_a29_header_limits_are_what_we_say(site: FakeSite) -> None:
    def answer(size: int, count: int) -> bytes:
        lines = [b"X-%d: " % i + b"y" * (size // count) for i in range(count)]
        return OK + b"\r\n".join(lines) + b"\r\nContent-Length: 2\r\n\r\nok"

    site.raw("/fits", answer(60_000, 50))
    site.raw("/long", answer(80_000, 50))
    site.raw("/many", answer(1000, 101))
    assert safe_fetch(site.url("/fits"), policy=LAN).body == b"ok"
    for path in ("/long", "/many"):
        with pytest.raises(Upstream):
            safe_fetch(site.url(path), policy=LAN)


def test_a29_interim_answers_are_skipped(site: FakeSite) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + b"HTTP/1.1 100 Continue\r\n\r\n"
    site.raw("/", hints * 3 + OK + b"Content-Length: 2\r\n\r\nok")
    answer = safe_fetch(site.url(), policy=LAN)
    assert (answer.status, answer.body) == (200, b"ok")


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (OK + b"\r\n", b"x" * 10_000),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"64\r\n" + b"x" * 100 + b"\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1;" + b"e" * 5000 + b"\r\nx\r\n"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: 1\r\n" * 1000),
    ],
    ids=["close-delimited", "chunked", "chunk-extensions", "trailers"],
)
def test_a29_infinite_bodies_end_at_the_cap(site: FakeSite, head: bytes, piece: bytes) -> None:
    site.script("/", endless(head, piece))
    with pytest.raises(TooLarge):
        safe_fetch(site.url(), policy=LAN, max_bytes=100_000, timeout=10)
    assert site.idle()


def test_a29_infinite_body_can_be_truncated(site: FakeSite) -> None:
    site.script("/", endless(OK + b"\r\n", b"x" * 10_000))
    cut = safe_fetch(site.url(), policy=LAN, max_bytes=100_000, on_too_large="truncate", timeout=10)
    assert (len(cut.body), cut.truncated) == (100_000, True)


def test_a29_a_declared_excess_is_refused_unread(site: FakeSite) -> None:
    site.script("/", drip(OK + b"Content-Length: 99999999999\r\n\r\n", b"x"))
    started = time.monotonic()
    with pytest.raises(TooLarge):
        safe_fetch(site.url(), policy=LAN, timeout=5)
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"\0" * 5000,
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 99 Low\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"-ERR unknown command\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x05hello",
    ],
)
def test_a29_junk_is_no_answer(site: FakeSite, answer: bytes) -> None:
    site.raw("/", answer)
    with pytest.raises(Upstream) as failure:
        safe_fetch(site.url(), policy=LAN)
    assert (failure.value.code, failure.value.retryable) == ("malformed", False)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("on_too_large", ["fail", "truncate"])
def test_a29_bombs_are_seen_early(site: FakeSite, encoding: str, on_too_large: Any) -> None:
    pack = gzip.compress if encoding == "gzip" else zlib.compress
    site.page("/", pack(b"\0" * 50_000_000), {"Content-Encoding": encoding})
    with pytest.raises(TooLarge) as failure:
        safe_fetch(site.url(), policy=LAN, max_bytes=2**30, on_too_large=on_too_large)
    assert failure.value.code == "decompression_bomb"


def test_a29_the_size_cap_counts_unpacked_bytes(site: FakeSite) -> None:
    site.page("/", gzip.compress(os.urandom(30_000) * 20), {"Content-Encoding": "gzip"})
    with pytest.raises(TooLarge):
        safe_fetch(site.url(), policy=LAN, max_bytes=500_000)
    assert len(safe_fetch(site.url(), policy=LAN).body) == 600_000
