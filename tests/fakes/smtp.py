"""A mail server on loopback that speaks ESMTP as real ones do: greeting, EHLO with what it offers, STARTTLS, AUTH, DATA
with dots doubled, and refusals where the test wants them.

    with MailServer(folder, user="brain", password="...") as mail: mail.got[0].message
"""

from __future__ import annotations

import base64
import email
import email.policy
import socket
import ssl
import threading
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Mail:
    sender: str
    recipients: list[str]
    data: bytes
    encrypted: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.data, policy=email.policy.default)  # type: ignore[return-value]


class MailServer:
    """certificate: (chain, key) for STARTTLS or, with `implicit`, from the first byte. refuse: verb -> answer."""

    def __init__(
        self,
        *,
        user: str = "",
        password: str = "",
        certificate: tuple[Path, Path] | None = None,
        implicit: bool = False,
        refuse: dict[str, str] | None = None,
    ) -> None:
        self.user, self.password, self.implicit, self.refuse = user, password, implicit, refuse or {}
        self.got: list[Mail] = []
        self.said: list[str] = []  # verbs, as they came
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                raw, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._guard, args=(raw,), daemon=True).start()

    def _guard(self, raw: socket.socket) -> None:
        try:
            _Talk(self, raw).run()
        except (OSError, ValueError):
            return  # the client left


class _Talk:
    def __init__(self, server: MailServer, raw: socket.socket) -> None:
        self.server, self.sock, self.encrypted, self.user = server, raw, False, None
        if server.implicit:
            self._encrypt()
        self.file: Any = self.sock.makefile("rb")
        self.sender, self.recipients = "", list[str]()

    def run(self) -> None:
        self.say("220 mail.test ESMTP")
        while line := self.file.readline():
            words = line.decode("ascii").strip()
            verb = words.split(" ", 1)[0].upper()
            self.server.said.append(verb)
            if verb in self.server.refuse:
                self.say(self.server.refuse[verb])
                continue
            handler = getattr(self, f"on_{verb.lower()}", None)
            if handler is None:
                self.say("502 not known")
            elif handler(words) == "bye":
                return

    def say(self, *lines: str) -> None:
        self.sock.sendall(("\r\n".join(lines) + "\r\n").encode())

    def on_ehlo(self, _: str) -> None:
        offers = ["8BITMIME", "SIZE 1000000"]
        if self.server._context and not self.encrypted:
            offers.append("STARTTLS")
        if self.server.user and (self.encrypted or not self.server._context):
            offers.append("AUTH PLAIN")
        self.say("250-mail.test", *(f"250-{one}" for one in offers[:-1]), f"250 {offers[-1]}")

    def on_starttls(self, _: str) -> None:
        self.say("220 go ahead")
        self.file.close()
        self._encrypt()
        self.file = self.sock.makefile("rb")

    def _encrypt(self) -> None:
        assert self.server._context is not None
        self.sock = self.server._context.wrap_socket(self.sock, server_side=True)
        self.encrypted = True

    def on_auth(self, words: str) -> None:
        _, _, given = base64.b64decode(words.split()[2]).split(b"\0")
        name = base64.b64decode(words.split()[2]).split(b"\0")[1].decode()
        if (name, given.decode()) != (self.server.user, self.server.password):
            self.say("535 5.7.8 wrong user name or password")
            return
        self.user = name  # type: ignore[assignment]
        self.say("235 welcome")

    def on_mail(self, words: str) -> None:
        if self.server.user and not self.user:
            self.say("530 5.7.0 log in first")
            return
        self.sender = words.split(":", 1)[1].split()[0].strip("<>")
        self.say("250 ok")

    def on_rcpt(self, words: str) -> None:
        self.recipients.append(words.split(":", 1)[1].split()[0].strip("<>"))
        self.say("250 ok")

    def on_data(self, _: str) -> None:
        self.say("354 go on")
        lines = []
        while (line := self.file.readline()) not in (b".\r\n", b""):
            lines.append(line[1:] if line.startswith(b"..") else line)
        self.server.got.append(Mail(self.sender, self.recipients, b"".join(lines), self.encrypted, self.user))
        self.say("250 taken")

    def on_rset(self, _: str) -> None:
        self.sender, self.recipients = "", []
        self.say("250 ok")

    def on_noop(self, _: str) -> None:
        self.say("250 ok")

    def on_quit(self, _: str) -> str:
        self.say("221 bye")
        self.sock.close()
        return "bye"
