"""Mail over a real SMTP conversation, Slack's JSON, a stranger's channel, and what each refusal means."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_cast
from tests.fakes import kinds
from tests.fakes.post_office import PostOffice
from tests.fakes.receiver import Receiver
from tests.fakes.smtp import MailServer
from webapp.core.errors import AppError, BadRequest
from webapp.notifications import mail, service, slack
from webapp.notifications.channels import Channel, Message, channels
from webapp.notifications.service import Rule
from webapp.runtime import Runtime

PASSWORD = "canary-of-the-mail-server"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(certificate of localhost, its key); it is its own authority."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = (
        ec.generate_private_key(ec.SECP256R1()),
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")]),
    )
    now, folder = datetime.now(UTC), tmp_path_factory.mktemp("mail")
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(7).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture
def trusted(certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))


@pytest.fixture
def make_office(make_rt: Callable[..., Runtime], monkeypatch: pytest.MonkeyPatch) -> Callable[..., PostOffice]:
    def make(**env: str) -> PostOffice:
        rt = make_rt(BRAINSTEM_PUBLIC_URL="https://brain.example", **env)
        office = PostOffice(rt, make_cast(rt), monkeypatch)
        office.sql("UPDATE users SET email = username || '@example.org'")
        kinds.scripts["bad"] = lambda run: (_ for _ in ()).throw(AppError("the page is gone <b>", retryable=False))
        return office

    return make


def smtp(server: MailServer, **more: str) -> dict[str, str]:
    return {"BRAINSTEM_SMTP_HOST": "localhost", "BRAINSTEM_SMTP_PORT": str(server.port),
            "BRAINSTEM_SMTP_FROM": "Brain <brain@example.org>", **more}  # fmt: skip


def by(office: PostOffice, who: Any, *rules: Rule) -> None:
    with office.as_(who) as ctx:
        service.save_rules(ctx, rules)


# -- mail ------------------------------------------------------------------------------------------------------------


def test_a_failure_by_mail_with_starttls_and_login(
    make_office: Callable[..., PostOffice], certificate: tuple[Path, Path], trusted: None
) -> None:
    with MailServer(user="brain", password=PASSWORD, certificate=certificate) as server:
        office = make_office(**smtp(server, BRAINSTEM_SMTP_USER="brain", BRAINSTEM_SMTP_PASSWORD=PASSWORD))
        by(office, office.cast.alice, Rule("failed", "email"))
        task_id = office.finish(office.cast.alice, "bad", title="Read <the> page\u2028Bcc: x@example.org")
        office.send()
    (got,) = server.got
    assert got.encrypted
    assert got.user == "brain"
    assert (got.sender, got.recipients) == ("brain@example.org", ["alice@example.org"])
    message = got.message
    assert message["From"] == "Brain <brain@example.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Bcc"] is None
    plain, html = (message.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    assert f"https://brain.example/tasks/{task_id}" in plain
    assert "the page is gone" in plain
    assert "Read &lt;the&gt; page" in html
    assert "<b>" not in html
    (row,) = office.deliveries()
    assert row.status == "delivered"
    assert row.id


def test_mail_from_the_first_byte_encrypted(
    make_office: Callable[..., PostOffice], certificate: tuple[Path, Path], trusted: None
) -> None:
    with MailServer(certificate=certificate, implicit=True) as server:
        office = make_office(**smtp(server, BRAINSTEM_SMTP_TLS="tls"))
        with office.as_(office.cast.alice) as ctx:
            service.test_channel(ctx, "email")
        office.send()
    assert server.got[0].encrypted
    assert "test" in server.got[0].message["Subject"]


def test_a_certificate_nobody_trusts_sends_nothing(
    make_office: Callable[..., PostOffice], certificate: tuple[Path, Path]
) -> None:
    with MailServer(user="brain", password=PASSWORD, certificate=certificate) as server:
        office = make_office(**smtp(server, BRAINSTEM_SMTP_USER="brain", BRAINSTEM_SMTP_PASSWORD=PASSWORD))
        with office.as_(office.cast.alice) as ctx:
            service.test_channel(ctx, "email")
        office.send()
    assert server.got == []
    assert "AUTH" not in server.said
    (row,) = office.deliveries()
    assert row.status == "waiting"
    assert "certificate" in (row.error or "")


@pytest.mark.parametrize(
    ("refuse", "status", "words"),
    [
        ({"RCPT": "550 5.1.1 no such mailbox"}, "failed", "550"),
        ({"RCPT": "450 4.2.1 try later"}, "waiting", "450"),
        ({"DATA": "451 busy"}, "waiting", "451"),
        ({"MAIL": "530 log in"}, "waiting", "530"),
    ],
)
def test_what_a_refusal_means(
    make_office: Callable[..., PostOffice], refuse: dict[str, str], status: str, words: str
) -> None:
    with MailServer(refuse=refuse) as server:
        office = make_office(**smtp(server, BRAINSTEM_SMTP_TLS="none"))
        with office.as_(office.cast.alice) as ctx:
            service.test_channel(ctx, "email")
        office.send()
    (row,) = office.deliveries()
    assert row.status == status
    assert words in (row.error or "")


def test_a_wrong_password_is_not_told_to_anybody(make_office: Callable[..., PostOffice]) -> None:
    with MailServer(user="brain", password="another one") as server:
        office = make_office(**smtp(server, BRAINSTEM_SMTP_TLS="none", BRAINSTEM_SMTP_USER="brain",
                                    BRAINSTEM_SMTP_PASSWORD=PASSWORD))  # fmt: skip
        with office.as_(office.cast.alice) as ctx:
            service.test_channel(ctx, "email")
        office.send()
    (row,) = office.deliveries()
    assert row.status == "waiting"
    assert "user name" in (row.error or "")
    assert PASSWORD not in (row.error or "")


def test_a_mail_server_that_is_away_is_tried_again(make_office: Callable[..., PostOffice]) -> None:
    with MailServer() as server:
        env = smtp(server, BRAINSTEM_SMTP_TLS="none")
    with socket.socket() as held:  # bound and deaf, so that no other test's server gets the number
        held.bind(("127.0.0.1", 0))
        office = make_office(**env | {"BRAINSTEM_SMTP_PORT": str(held.getsockname()[1])})
        with office.as_(office.cast.alice) as ctx:
            service.test_channel(ctx, "email")
        office.send()
    assert office.deliveries()[0].status == "waiting"
    assert office.deliveries()[0].attempts == 1


def test_without_a_mail_server_or_an_address_there_is_no_mail(make_office: Callable[..., PostOffice]) -> None:
    office = make_office()
    by(office, office.cast.alice, Rule("failed", "email"))
    office.finish(office.cast.alice, "bad")
    office.send()
    assert office.deliveries() == []
    with office.as_(office.cast.alice) as ctx:
        with pytest.raises(BadRequest):
            service.test_channel(ctx, "email")
        with pytest.raises(BadRequest, match="SMTP_HOST"):
            service.add_channel(ctx, "email", "x", {"to": "a@example.org"})


def test_alerts_come_to_administrators_by_mail(make_office: Callable[..., PostOffice]) -> None:
    with MailServer() as server:
        office = make_office(**smtp(server, BRAINSTEM_SMTP_TLS="none"))
        with office.rt.unit() as db:
            news = [{"key": "disk", "level": "bad", "title": "The disk is full", "text": "3 MB left"}]
            service.alert(office.rt, db, news, key="run-1")
        office.send()
    assert [got.recipients for got in server.got] == [["root@example.org"]]


def test_nobody_can_make_it_send_thousands(make_office: Callable[..., PostOffice]) -> None:
    with MailServer() as server:
        office = make_office(**smtp(server, BRAINSTEM_SMTP_TLS="none"))
        with office.as_(office.cast.alice) as ctx:
            for _ in range(65):
                service.test_channel(ctx, "email")
        office.send()
    assert len(server.got) == 60
    late = [row for row in office.deliveries() if row.status == "waiting"]
    assert len(late) == 5
    assert any("60 mails an hour" in (row.error or "") for row in late)


# -- Slack and others ------------------------------------------------------------------------------------------------


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_a_slack_message(make_office: Callable[..., PostOffice], receiver: Receiver) -> None:
    office = make_office(BRAINSTEM_ALLOW_HOSTS=receiver.host)
    with office.as_(office.cast.alice) as ctx:
        row = service.add_channel(ctx, "slack", "Desk", {"url": receiver.url + "/canary-path"})
        assert row.shown == receiver.host
        assert "canary" not in row.config_sealed
        channel = row.id
        service.save_rules(ctx, [Rule("failed", channel)])
    office.finish(office.cast.alice, "bad", title="<!channel> *x* | y")
    office.send()
    text = receiver.got[0].json["text"]
    assert "&lt;!channel&gt;" in text
    assert "<!channel>" not in text
    assert "¦" in text
    assert "<https://brain.example/tasks/" in text
    with office.as_(office.cast.alice) as ctx:
        assert service.get_channel(ctx, channel).last_ok_at is not None


def test_a_channel_that_is_gone_is_turned_off_and_told_in_the_centre(
    make_office: Callable[..., PostOffice], receiver: Receiver
) -> None:
    receiver.answer = lambda got: (410, {}, b"channel_is_archived")
    office = make_office(BRAINSTEM_ALLOW_HOSTS=receiver.host)
    with office.as_(office.cast.alice) as ctx:
        channel = service.add_channel(ctx, "slack", "Desk", {"url": receiver.url}).id
        service.test_channel(ctx, channel)
    office.send()
    with office.as_(office.cast.alice) as ctx:
        assert not service.get_channel(ctx, channel).enabled
        assert [note.title for note in service.list_(ctx).items] == ["The channel Desk was turned off"]


def test_busy_receivers_of_messages_are_left_alone(make_office: Callable[..., PostOffice], receiver: Receiver) -> None:
    receiver.answer = lambda got: (429, {"Retry-After": "40"}, b"")
    office = make_office(BRAINSTEM_ALLOW_HOSTS=receiver.host)
    with office.as_(office.cast.alice) as ctx:
        service.test_channel(ctx, service.add_channel(ctx, "slack", "Desk", {"url": receiver.url}).id)
    office.send()
    office.ahead += 30
    office.send()
    assert len(receiver.got) == 1


def test_a_channel_that_is_removed_takes_its_rules_along(make_office: Callable[..., PostOffice]) -> None:
    office = make_office()
    with office.as_(office.cast.alice) as ctx:
        channel = service.add_channel(ctx, "slack", "", {"url": "https://chat.example/x"}).id
        service.save_rules(ctx, [Rule("failed", channel)])
        service.remove_channel(ctx, channel)
        assert service.rules(ctx) == []


@pytest.mark.parametrize("config", [{}, {"url": "no address"}, {"url": "https://x.example/", "more": 1}])
def test_a_configuration_that_does_not_fit_names_its_field(
    make_office: Callable[..., PostOffice], config: dict[str, Any]
) -> None:
    office = make_office()
    with office.as_(office.cast.alice) as ctx, pytest.raises(BadRequest) as refused:
        service.add_channel(ctx, "slack", "x", config)
    assert refused.value.details


def test_a_strangers_channel_is_a_package_with_an_entry_point(
    make_office: Callable[..., PostOffice], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The example of docs/adding-a-channel.md, as the registry would find it."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "docs" / "examples" / "brainstem_ntfy"))
    channels.add_setting(("ntfy=brainstem_ntfy:CHANNEL",))
    try:
        office = make_office(BRAINSTEM_ALLOW_HOSTS=receiver.host)
        with office.as_(office.cast.alice) as ctx:
            config = {"server": f"http://{receiver.host}", "topic": "tides", "token": "tk_canary"}
            channel = service.add_channel(ctx, "ntfy", "Phone", config)
            assert channel.shown == f"tides on {receiver.host}"
            service.save_rules(ctx, [Rule("failed", channel.id)])
        office.finish(office.cast.alice, "bad", title="Read")
        office.send()
        (got,) = receiver.got
        assert got.json["title"] == "Read failed"
        assert got.json["topic"] == "tides"
        assert got.headers["authorization"] == "Bearer tk_canary"
    finally:
        channels._extra.clear()
        channels.add_setting(())


def test_a_channel_that_raises_is_tried_again_and_stops_no_other(
    make_office: Callable[..., PostOffice], receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    office = make_office(BRAINSTEM_ALLOW_HOSTS=receiver.host)
    real = channels.get("slack")

    def send(message: Message, config: dict[str, Any], tools: Any) -> None:
        if config["url"].endswith("broken"):
            raise KeyError("a bug")
        real.send(message, config, tools)

    broken = Channel("slack", "Slack", real.config, send, shown=real.shown)
    monkeypatch.setitem(channels._loaded, "slack", broken)
    with office.as_(office.cast.alice) as ctx:
        for path in ("broken", "fine"):
            service.test_channel(ctx, service.add_channel(ctx, "slack", path, {"url": f"{receiver.url}/{path}"}).id)
    office.send()
    assert len(receiver.got) == 1
    assert sorted(row.status for row in office.deliveries()) == ["delivered", "waiting"]


def test_subjects_and_slack_lines_stay_lines() -> None:
    message = Message("1", "failed", "bad", "a\nb", "c", "", "2026-01-01T00:00:00Z")
    assert json.dumps(slack.payload(message)).count("\\n") == 1
    assert mail.html(message).count("<p") == 3
