"""E-mail over SMTP: plain text with an HTML twin. The server is the operator's (`BRAINSTEM_SMTP_*`)."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Mapping
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from html import escape
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from webapp.core.errors import AppError, Unavailable, Upstream
from webapp.notifications.channels import Channel, Message, Tools

if TYPE_CHECKING:
    from webapp.settings import Settings

TIMEOUT = 20.0
COLOURS = {"ok": "#1a7f4b", "warn": "#9a6700", "bad": "#b42318"}


class EmailConfig(BaseModel):
    model_config = ConfigDict(extra="forbid")

    to: str = Field(title="Address", max_length=254, pattern=r"^[^@\s,;<>\"]{1,64}@[^@\s,;<>\"]{1,189}$",
                    description="Where the mails go.", examples=["you@example.org"])  # fmt: skip


def send(message: Message, config: dict[str, Any], tools: Tools) -> None:
    deliver(tools.settings, composed(message, config["to"], tools.settings))


def composed(message: Message, to: str, settings: Settings) -> EmailMessage:
    mail = EmailMessage()
    name, address = parseaddr(settings.smtp_from)
    mail["From"] = Address(name or "Brainstem", addr_spec=address)
    mail["To"] = to
    mail["Subject"] = " ".join(message.title.split())[:200]
    mail["Date"] = formatdate()
    mail["Message-ID"] = f"<{message.id}@{address.rpartition('@')[2] or 'brainstem'}>"  # the same in each attempt
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content("\n\n".join(part for part in (message.title, message.text, message.url) if part) + "\n")
    mail.add_alternative(html(message), subtype="html")
    return mail


def html(message: Message) -> str:
    """Everything in it is somebody's text. No picture and no style sheet: mail programs block both."""
    colour = COLOURS.get(message.level, "#3b3b4f")
    parts = [f'<p style="font-size:16px;font-weight:600;margin:0 0 8px;color:{colour}">{escape(message.title)}</p>']
    if message.text:
        parts.append(f'<p style="margin:0 0 16px;white-space:pre-line">{escape(message.text)}</p>')
    if message.url:
        parts.append(f'<p style="margin:0"><a href="{escape(message.url, quote=True)}">Open in Brainstem</a></p>')
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><body style="font-family:system-ui,sans-serif;font-size:14px;line-height:1.5">\n'
        f'{body}\n<p style="color:#6b6b80;font-size:12px;margin-top:24px">Sent by Brainstem. Choose what you are told of on '
        "its page Notifications, Settings.</p>\n</body></html>\n"
    )


def deliver(settings: Settings, mail: EmailMessage) -> None:
    """Hand a mail to the SMTP server. Raises Unavailable or Upstream; code bad_target when it is refused for good."""
    if not settings.smtp_host:
        raise Unavailable("no mail server is set up", suggestion="Set BRAINSTEM_SMTP_HOST.")
    try:
        with _connection(settings) as server:
            if settings.smtp_user:
                server.login(settings.smtp_user, settings.smtp_password)
            server.send_message(mail)
    except smtplib.SMTPAuthenticationError:
        raise Upstream("the mail server refused the user name and password") from None
    except smtplib.SMTPRecipientsRefused as exc:
        code, text = next(iter(exc.recipients.values()))
        raise _refused(code, text) from None
    except smtplib.SMTPResponseException as exc:
        raise _refused(exc.smtp_code, exc.smtp_error) from None
    except ssl.SSLError as exc:
        raise Upstream(f"the mail server's certificate or encryption: {exc.reason or 'not usable'}") from None
    except (smtplib.SMTPException, OSError) as exc:
        raise Upstream(f"the mail server did not answer as it should: {type(exc).__name__}") from None


def _connection(settings: Settings) -> smtplib.SMTP:
    """With the server's certificate checked, unless the operator chose to send in the clear."""
    host, port, context = settings.smtp_host, settings.smtp_port, ssl.create_default_context()
    if settings.smtp_tls == "tls":
        return smtplib.SMTP_SSL(host, port, timeout=TIMEOUT, context=context)
    server = smtplib.SMTP(host, port, timeout=TIMEOUT)
    if settings.smtp_tls == "starttls":
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server


def _refused(code: int, text: bytes | str) -> AppError:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    error = Upstream(f"the mail server answered {code}: {words[:200]}")
    if code in (550, 551, 553):  # no such mailbox: the next attempt hears the same
        error.code = "bad_target"
    return error


def shown(config: Mapping[str, Any]) -> str:
    return str(config["to"])


def missing(settings: Settings) -> str:
    return "" if settings.smtp_host else "This server has no mail server: the operator sets BRAINSTEM_SMTP_HOST."


EMAIL = Channel("email", "Email", EmailConfig, send, icon="inbox", shown=shown, missing=missing,
                description="A mail to an address of your choice.")  # fmt: skip
