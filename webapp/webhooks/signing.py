"""Standard Webhooks signatures: HMAC-SHA256 over `id.timestamp.body`, sent as webhook-id, -timestamp, -signature.

A secret is `whsec_` and base64 of 24 to 64 bytes. Any other text is taken as its UTF-8 bytes (the documented examples
use plain words); to a receiver that knows only the first form its base64 is given.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from webapp.core.errors import BadRequest, Unauthorized

PREFIX = "whsec_"
LONGEST_ID = 200


def new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def checked(secret: str) -> str:
    """A secret somebody chose. Raises BadRequest when it is too short, too long, or whsec_ of no base64."""
    key = _key(secret)
    least = 24 if secret.startswith(PREFIX) else 12
    if key is None or not least <= len(key) <= 64:
        message = "12 to 64 characters, or whsec_ with base64 of 24 to 64 bytes"
        detail = {"loc": ["secret"], "msg": message, "type": "secret"}
        raise BadRequest(f"secret: {message}", code="invalid_config", details=[detail])
    return secret


def signed(keys: Sequence[str], message_id: str, at: float, body: str) -> dict[str, str]:
    """The three headers; one signature per secret, the present one first."""
    when = datetime.fromtimestamp(int(at), UTC)
    signatures = [_webhook(secret).sign(message_id, when, body) for secret in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": " ".join(signatures),
    }


def verify(keys: Sequence[str], headers: Mapping[str, str], body: bytes) -> str:
    """The id of a message that one of `keys` signed within five minutes. Raises Unauthorized, always with one text."""
    from standardwebhooks.webhooks import WebhookVerificationError

    headers = {name.lower(): value for name, value in headers.items()}
    message_id = headers.get("webhook-id", "")
    if re.fullmatch(rf"[\x21-\x7e]{{1,{LONGEST_ID}}}", message_id):
        given = {name: headers.get(name, "") for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}
        given["webhook-signature"] = _of_version_1(given["webhook-signature"])
        for secret in keys:
            try:
                _webhook(secret).verify(body, given, json_parse=False)
                return message_id
            except (WebhookVerificationError, ValueError):  # also what is no base64, no number and no UTF-8
                continue
    raise Unauthorized(
        "the signature is missing, wrong or too old",
        suggestion="Sign id.timestamp.body as Standard Webhooks says, with the hook's secret and a clock that is right.",
    )


def _of_version_1(header: str) -> str:
    """Only whole signatures of a form we know: what stands beside them must not spoil them."""
    return " ".join(re.findall(r"(?<!\S)v1,[A-Za-z0-9+/]{43}=(?!\S)", header[:4000]))


def _webhook(secret: str) -> Any:
    from standardwebhooks import Webhook

    return Webhook(_key(secret) or b"\0")


def _key(secret: str) -> bytes | None:
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
