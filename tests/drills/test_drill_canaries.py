"""A44: twenty and more secrets are planted, given, made and shown; none is found in clear anywhere it could be read later.

Looked at: every row of every table, every file of the installation (database, write-ahead log, logs, uploads), what the
pages and /metrics say, each command Redis heard (MONITOR) and all it keeps.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.drills.harness import Cluster, Stack, tell, until
from tests.fakes.receiver import Receiver
from tests.fakes.smtp import MailServer

pytestmark = pytest.mark.drill
API = "/api/v1/integration"


class Monitor:
    """All that a Redis is told from now on."""

    def __init__(self, port: int) -> None:
        self.heard = bytearray()
        self._sock = socket.create_connection(("127.0.0.1", port))
        self._sock.sendall(b"MONITOR\r\n")
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while part := self._sock.recv(65536):
                self.heard += part
        except OSError:
            return

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    made.answer = lambda got: (500, {}, b"no")
    yield made
    made.close()


@pytest.mark.parametrize("mode", ["embedded", pytest.param("distributed", marks=pytest.mark.services)])
def test_a44_canaries(own: Callable[..., Stack], receiver: Receiver, mode: str) -> None:
    planted = {name: f"canary-{name}-7Qx9vLr2" for name in (
        "secretkey", "openai", "modelkey", "searchkey", "embedder", "hub", "mcp", "smtp", "alert")}  # fmt: skip
    with MailServer(user="brain", password="another") as mail:
        stack = own(
            mode, SECRET_KEY=planted["secretkey"], OPENAI_API_KEY=planted["openai"],
            OPENAI_BASE_URL="http://127.0.0.1:9/v1", BRAINSTEM_MODEL_SERVERS="other=http://127.0.0.1:9/v1",
            BRAINSTEM_MODEL_KEYS=f"other={planted['modelkey']}", BRAINSTEM_SEARCH_PROVIDERS="brave=https://brave.invalid/",
            BRAINSTEM_SEARCH_KEYS=f"brave={planted['searchkey']}", BRAINSTEM_EMBEDDER_KEY=planted["embedder"],
            HF_TOKEN=planted["hub"], BRAINSTEM_MCP_KEY=planted["mcp"], BRAINSTEM_SMTP_HOST="127.0.0.1",
            BRAINSTEM_SMTP_PORT=str(mail.port), BRAINSTEM_SMTP_TLS="none", BRAINSTEM_SMTP_USER="brain",
            BRAINSTEM_SMTP_PASSWORD=planted["smtp"], BRAINSTEM_ALLOW_HOSTS=receiver.host,
            BRAINSTEM_ALERT_URL=f"{receiver.url}/{planted['alert']}", BRAINSTEM_LOG_LEVEL="DEBUG",
        ).start()  # fmt: skip
        monitor = Monitor(stack.redis.port) if isinstance(stack, Cluster) else None
        shown = Act(stack, receiver, planted).all()
    canaries = {name: value for name, value in planted.items() if len(value) >= 12}
    assert len(canaries) >= 20, sorted(canaries)
    places = {"pages": "\n".join(shown).encode(), "rows": rows_of(stack), **files_of(stack.folder)}
    if isinstance(stack, Cluster) and monitor is not None:
        monitor.close()
        places |= {"redis heard": bytes(monitor.heard), "redis keeps": kept_by(stack)}
        assert len(monitor.heard) > 1000
    found = {
        (name, place) for place, text in places.items() for name, value in canaries.items() if value.encode() in text
    }
    tell("A44", mode, canaries=len(canaries), places=len(places), bytes=sum(map(len, places.values())), hits=len(found))
    assert found == set()


class Act:
    """Somebody uses all of it. What the server makes (keys, tokens, secrets) becomes a canary when it was shown once."""

    def __init__(self, stack: Stack, receiver: Receiver, canaries: dict[str, str]) -> None:
        self.stack, self.receiver, self.canaries = stack, receiver, canaries
        self.shown: list[str] = []

    def call(self, method: str, path: str, *, expect: int = 0, secretly: bool = False, **more: Any) -> Any:
        answer = requests.request(method, self.stack.url + path, timeout=30, **more)
        assert not expect or answer.status_code == expect, f"{path}: {answer.status_code} {answer.text[:300]}"
        if not secretly:  # an answer that shows a secret once, to whom it belongs
            self.shown.append(answer.text)
        return answer

    def all(self) -> list[str]:
        plant = lambda name: self.canaries.setdefault(name, f"canary-{name}-7Qx9vLr2")  # noqa: E731
        person = {"username": "marta", "password": plant("password"), "email": "marta@example.org"}
        self.call("POST", "/api/auth/register/", json=person, secretly=True)
        self.call("POST", "/api/auth/token/", json={"username": "marta", "password": plant("wrongpassword")})
        tokens = self.call("POST", "/api/auth/token/", json={k: person[k] for k in ("username", "password")},
                           secretly=True).json()  # fmt: skip
        self.canaries |= {"access": tokens["access"], "refresh": tokens["refresh"]}
        mine = {"Authorization": f"Bearer {tokens['access']}"}
        made = self.call("POST", "/api/auth/api-keys/", json={"name": "k", "scopes": ["tasks:read"]}, headers=mine,
                         secretly=True).json()  # fmt: skip
        self.canaries["apikey"] = next(
            value for value in made.values() if str(value).startswith("bs_") and len(value) > 20
        )
        self.webhooks(plant, mine)
        self.called_wrongly(plant)
        task = self.call("POST", "/api/v1/utils/ai-tasks/", json={"title": "t", "task_type": "drill_steps", "task_config": {}},
                         headers=mine, expect=201).json()["id"]  # fmt: skip
        self.stack.wait_final([task], 60)
        until(lambda: len({got.path for got in self.receiver.got}) >= 2, 60, "webhook and channel were tried")
        sent = "SELECT count(*) AS n FROM delivery_attempts"
        until(lambda: self.stack.sql(sent)[0]["n"] >= 3, 60, "mail too")
        for path in ("/metrics", "/api/v1/health", "/", "/webhooks", "/notifications/settings", "/system", "/logs", "/profile",
                     f"{API}/webhooks", f"{API}/hooks", f"{API}/webhooks/{self.endpoint}/deliveries", "/monitor/",
                     "/monitor/database/webhook_endpoints", "/monitor/database/notification_channels", "/admin/",
                     "/monitor/audit", "/openapi.json", "/models", "/no-such-page"):  # fmt: skip
            self.call("GET", path, headers=mine if "integration" in path else {})
        return self.shown

    def webhooks(self, plant: Callable[[str], str], mine: dict[str, str]) -> None:
        given = {"url": self.receiver.url, "events": ["*"], "secret": plant("webhooksecret"),
                 "headers": {"Authorization": f"Bearer {plant('header')}"}}  # fmt: skip
        made = self.call(
            "POST", f"{API}/webhooks/subscribe", json=given, headers=mine, expect=201, secretly=True
        ).json()
        self.endpoint = made["id"]
        path = f"{API}/webhooks/{self.endpoint}"
        rotated = self.call("POST", f"{path}/rotate-secret", json={}, headers=mine, secretly=True)
        self.canaries["rotated"] = rotated.json()["secret"]
        self.call("POST", f"{path}/test", headers=mine, expect=202)
        hook = self.call("POST", f"{API}/hooks", json={"name": "h", "task_type": "drill_steps"}, headers=mine, expect=201,
                         secretly=True).json()  # fmt: skip
        self.canaries["hook"] = hook["secret"]
        channel = {"channel": "slack", "config": {"url": f"{self.receiver.url}/{plant('slack')}"}}
        made = self.call("POST", "/api/v1/notifications/channels", json=channel, headers=mine, expect=201).json()
        for name in (made["id"], "email"):
            self.call("POST", f"/api/v1/notifications/channels/{name}/test", headers=mine, expect=202)

    def called_wrongly(self, plant: Callable[[str], str]) -> None:
        """Credentials where they do not belong, and a page that breaks."""
        self.call("GET", "/api/v1/utils/ai-tasks/", headers={"Authorization": f"Bearer {plant('unknownbearer')}"})
        self.call("GET", "/api/v1/utils/ai-tasks/", headers={"X-API-Key": plant("unknownkey")})
        self.call("GET", f"/api/v1/logs/history?token={plant('querytoken')}")
        self.call("GET", "/no-such-page", headers={"Cookie": f"brainstem_session={plant('cookie')}"})


def rows_of(stack: Stack) -> bytes:
    from webapp.core import migrate

    text = []
    for table in migrate.metadata().sorted_tables:
        text += [repr(row) for row in stack.sql(f'SELECT * FROM "{table.name}"')]
    return "\n".join(text).encode()


def files_of(folder: Path) -> dict[str, bytes]:
    """All but the key that opens what is sealed."""
    found, deadline = {}, time.monotonic() + 30
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "secret.key" and time.monotonic() < deadline:
            try:
                found[str(path.relative_to(folder))] = path.read_bytes()
            except OSError:
                continue  # gone in between
    return found


def kept_by(stack: Cluster) -> bytes:
    client = stack.redis.client()
    client.config_set("rdbcompression", "no")  # else a dump might hide what it holds
    return b"\n".join(key + (client.dump(key) or b"") for key in client.keys("*"))
