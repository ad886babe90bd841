"""Logs are open for reading, but a key can do no more than its scopes say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import make_cast


@pytest.mark.parametrize("path", ["/api/v1/logs/history", "/api/v1/logs/none", "/api/v1/logs/stream/none"])
def test_a_key_without_the_scope_reads_no_logs(app: Any, path: str) -> None:
    cast = make_cast(app.extensions["runtime"])
    client = app.test_client()
    assert client.get(path, headers=cast.key(cast.alice, ["tasks:read"])).status_code == 403
    assert client.get(path, headers=cast.key(cast.alice, ["events:read"])).status_code in (200, 404)
