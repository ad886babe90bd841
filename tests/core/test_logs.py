"""Log lines carry the request's or task's id and no secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from webapp.core import logs


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    kept = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:], level = kept
    logger.setLevel(level)
    structlog.contextvars.clear_contextvars()


JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcDEF-_123"


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("key bs_abcd1234SECRETSECRETSECRET used", "SECRETSECRET"),
        (f"got {JWT} here", "abcDEF-_123"),
        ("postgresql://user:hunter2@host/db", "hunter2"),
        ("redis://:hunter2@host", "hunter2"),
        ("GET /x?token=hunter2&a=1", "hunter2"),
        ("Authorization: Bearer hunter2", "hunter2"),
        ('{"authorization": "Bearer hunter2"}', "hunter2"),
    ],
)
def test_secrets_are_taken_out(text: str, secret: str) -> None:
    assert secret not in logs.redact(text)


def test_what_is_no_secret_stays() -> None:
    for text in ("task 01a1fc-9d stopped", "https://example.org:8080/path?page=2", "bearer of news", "a@b.example"):
        assert logs.redact(text) == text


def test_lines_are_json_with_ids_and_tracebacks_without_secrets(
    root: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.setup("INFO", "json")
    logs.bind(request_id="r-1")
    log = logging.getLogger("webapp.test")
    log.info("hello %s", "world", extra={"task_id": "t-1"})
    log.debug("not shown")
    try:
        raise ValueError("with ?token=hunter2 inside\nand a second line")
    except ValueError:
        log.exception("failed")
    first, second = (json.loads(line) for line in capsys.readouterr().err.strip().splitlines())
    assert (first["event"], first["level"], first["request_id"], first["task_id"]) == (
        "hello world",
        "info",
        "r-1",
        "t-1",
    )
    assert first["timestamp"].endswith("Z")
    assert "ValueError" in second["exception"]
    assert "hunter2" not in json.dumps(second)


def test_a_line_can_not_be_forged(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("INFO", "json")
    logging.getLogger("webapp.test").info('x\n{"event": "forged"}')
    [line] = capsys.readouterr().err.strip().splitlines()
    assert json.loads(line)["event"] == 'x\n{"event": "forged"}'


def test_text_for_a_terminal(root: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    logs.setup("WARNING", "text")
    logging.getLogger("webapp.test").warning("Bearer of ?token=hunter2")
    out = capsys.readouterr().err
    assert "Bearer of" in out
    assert "hunter2" not in out
