"""E-mail: Internet messages (RFC 5322, MIME) and Outlook's .msg. Runs in the child."""

from __future__ import annotations

import io
import re
import struct
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import Message
from email.parser import BytesParser
from typing import Any

from webapp.extraction import markdown
from webapp.extraction.common import damaged
from webapp.extraction.encoding import decode

PARTS = 500
SHOWN = (("From", "From"), ("To", "To"), ("Cc", "Cc"), ("Date", "Date"))


def read_eml(data: bytes, characters: int) -> dict[str, Any]:
    """Subject as heading, who to whom and when, the body, the names of what is attached."""
    message = BytesParser(policy=policy.default).parsebytes(data)
    subject = _header(message, "Subject")
    date = _date(message)
    lines = [f"{label}: {value}" for name, label in SHOWN if (value := _header(message, name))]
    body, attached = _contents(message, characters)
    blocks = [f"# {subject}" if subject else "", "  \n".join(lines), body, _attachments(attached)]
    return {
        "text": "\n\n".join(block for block in blocks if block),
        "title": subject or None,
        "author": _header(message, "From")[:200] or None,
        "published": date,
        "method": "email",
        "meta": {"attachments": len(attached)},
    }


def _header(message: Message, name: str) -> str:
    """Broken headers raise all sorts of errors in the standard library; then the raw text serves."""
    try:
        value = message.get(name)
    except Exception:
        value = next((raw for key, raw in message.raw_items() if key.lower() == name.lower()), "")  # type: ignore[attr-defined]
    return " ".join(str(value or "").split())[:500]


def _date(message: Message) -> str | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(_header(message, "Date")).date().isoformat()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _contents(message: Message, characters: int) -> tuple[str, list[str]]:
    """The body and the names of attachments. Of alternatives the HTML is taken: it keeps links, lists and tables."""
    plain: list[str] = []
    rich: list[str] = []
    attached: list[str] = []
    for number, part in enumerate(message.walk()):
        if number >= PARTS or characters < 0:
            break
        if part.is_multipart():
            continue
        name = _filename(part)
        if name or part.get_content_disposition() == "attachment":
            attached.append(name or part.get_content_type())
        elif part.get_content_type() in ("text/html", "text/plain"):
            text = _text(part)
            characters -= len(text)
            (rich if part.get_content_type() == "text/html" else plain).append(text)
    shown = [markdown.from_html(text) for text in rich]
    if sum(map(len, shown)) < 0.5 * sum(map(len, plain)):  # an empty or broken alternative
        shown = plain
    return "\n\n".join(text.strip() for text in shown if text.strip()), attached


def _filename(part: Message) -> str | None:
    try:
        return part.get_filename()
    except Exception:
        return None


def _text(part: Message) -> str:
    try:
        raw = part.get_payload(decode=True)
    except Exception:
        raw = None
    charset = part.get_param("charset")
    if isinstance(raw, bytes):
        return decode(raw, charset if isinstance(charset, str) else None)[0]
    return str(part.get_payload())


def _attachments(names: list[str]) -> str:
    return "Attachments:\n\n" + "\n".join(f"- {' '.join(name.split())[:200]}" for name in names) if names else ""


# --- Outlook ----------------------------------------------------------------------------------------------------

# Property ids of MS-OXPROPS: subject, sender's name and address, display-to, body, HTML body.
SUBJECT, SENDER, ADDRESS, TO, BODY, HTML = "0037", "0C1A", "0C1F", "0E04", "1000", "1013"
SENT = (0x00390040, 0x0E060040)  # PidTagClientSubmitTime, PidTagMessageDeliveryTime
ATTACHMENT_NAMES = ("3707", "3704")


def read_msg(data: bytes) -> dict[str, Any]:
    """The same out of the compound file of MS-OXMSG."""
    import olefile

    try:
        with olefile.OleFileIO(io.BytesIO(data)) as ole:
            return _msg(ole)
    except (OSError, ValueError, struct.error, IndexError, KeyError) as error:
        raise damaged("Outlook message") from error


def _msg(ole: Any) -> dict[str, Any]:
    subject, sender, to = (_property(ole, "", ident) for ident in (SUBJECT, SENDER, TO))
    address = _property(ole, "", ADDRESS)
    if "@" in address and address not in sender:
        sender = f"{sender} <{address}>".strip()
    sent = _sent(ole)
    html, body = _html(ole), _property(ole, "", BODY)
    rich = markdown.from_html(html) if html else ""
    names = _attached(ole)
    lines = [f"From: {sender}" if sender else "", f"To: {to}" if to else "", f"Date: {sent}" if sent else ""]
    blocks = [f"# {subject}" if subject else "", "  \n".join(line for line in lines if line),
              rich if len(rich) > 0.5 * len(body) else body.strip(), _attachments(names)]  # fmt: skip
    return {
        "text": "\n\n".join(block for block in blocks if block),
        "title": subject or None,
        "author": sender[:200] or None,
        "published": sent[:10] or None,
        "method": "olefile",
        "meta": {"attachments": len(names)},
    }


def _property(ole: Any, folder: str, ident: str) -> str:
    """A text property, in UTF-16 (type 001F) or in some 8-bit code page (001E)."""
    for kind in ("001F", "001E"):
        name = f"{folder}__substg1.0_{ident}{kind}"
        if ole.exists(name):
            raw = ole.openstream(name).read()
            text = raw.decode("utf-16-le", "replace") if kind == "001F" else decode(raw, None)[0]
            return str(text).replace("\0", "").strip()
    return ""


def _html(ole: Any) -> str:
    name = f"__substg1.0_{HTML}0102"
    if not ole.exists(name):
        return _property(ole, "", HTML)
    return decode(ole.openstream(name).read(), None)[0]


def _sent(ole: Any) -> str:
    """Fixed-size properties stand in one stream: 32 bytes of head, then 16 each (tag, flags, value)."""
    if not ole.exists("__properties_version1.0"):
        return ""
    raw = ole.openstream("__properties_version1.0").read()
    found: dict[int, int] = {}
    for start in range(32, len(raw) - 15, 16):
        tag, _, value = struct.unpack_from("<IIQ", raw, start)
        if tag in SENT:
            found[tag] = value
    ticks = next((found[tag] for tag in SENT if found.get(tag)), None)
    try:
        when = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks / 10) if ticks else None
    except OverflowError:
        when = None
    return when.strftime("%Y-%m-%d %H:%M UTC") if when else ""


def _attached(ole: Any) -> list[str]:
    folders = {entry[0] for entry in ole.listdir() if re.match(r"__attach_version1\.0_#", entry[0])}
    names = []
    for folder in sorted(folders)[:PARTS]:
        names.append(
            next((name for ident in ATTACHMENT_NAMES if (name := _property(ole, folder + "/", ident))), "file")
        )
    return names
