"""A reverse proxy that takes the encryption off, as one stands before a deployment: https and wss to http and ws."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self


class TlsProxy:
    """`with TlsProxy(folder, port_behind) as proxy: proxy.url`. The certificate is signed by nobody."""

    def __init__(self, folder: Path, behind: int) -> None:
        self.behind = behind
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*_certificate(folder))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.port}"
        self.upgrades = 0  # WebSockets that came in encrypted

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
            threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            with self._context.wrap_socket(raw, server_side=True) as near:
                self._relay(near)
        except OSError:
            return  # the browser left

    def _relay(self, near: ssl.SSLSocket) -> None:
        """One request, or one WebSocket, for each connection."""
        head = b""
        while b"\r\n\r\n" not in head:
            part = near.recv(65536)
            if not part:
                return
            head += part
        first, rest = head.split(b"\r\n", 1)
        upgrade = b"upgrade: websocket" in rest.lower()
        self.upgrades += upgrade
        ours = b"X-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\n" + (
            b"" if upgrade else b"Connection: close\r\n"
        )
        lines = [line for line in rest.split(b"\r\n") if upgrade or not line.lower().startswith(b"connection:")]
        with socket.create_connection(("127.0.0.1", self.behind)) as far:
            far.sendall(first + b"\r\n" + ours + b"\r\n".join(lines))
            back = threading.Thread(target=_pipe, args=(far, near), daemon=True)
            back.start()
            _pipe(near, far)
            back.join(10)


def _pipe(source: socket.socket, target: socket.socket) -> None:
    try:
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def _certificate(folder: Path) -> tuple[str, str]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now - timedelta(days=1), now + timedelta(days=1)
    ).sign(key, hashes.SHA256())
    chain, secret = folder / "proxy.pem", folder / "proxy.key"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))  # fmt: skip
    return str(chain), str(secret)
