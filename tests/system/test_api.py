"""The nine endpoints: open, in the documented shape, parts equal to the whole."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fakes.site import Site
from tests.system.test_service import DOCUMENTED, check

BASE = "/api/v1/system"
PARTS = {
    "cpu": "cpu",
    "memory": "memory",
    "disk": "disk",
    "network": "network",
    "gpu": "gpu",
    "load": "load_average",
    "swap": "swap",
}


def test_everything(site: Site) -> None:
    answer = site.client.get(f"{BASE}/metrics")
    assert answer.status_code == 200
    check({**answer.json, "gpu": []}, DOCUMENTED)


@pytest.mark.parametrize(("path", "key"), PARTS.items())
def test_a_part_is_the_sub_object(site: Site, path: str, key: str) -> None:
    answer = site.client.get(f"{BASE}/metrics/{path}")
    assert answer.status_code == 200
    if key == "gpu":
        assert isinstance(answer.json, list)
    else:
        check(answer.json, DOCUMENTED[key])


def test_info_is_the_system_object(site: Site) -> None:
    check(site.client.get(f"{BASE}/info").json, DOCUMENTED["system"])


def test_a_wrong_credential_is_still_refused(site: Site) -> None:
    answer = site.client.get(f"{BASE}/metrics", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401


def test_the_document_describes_the_whole_tree(site: Site) -> None:
    found = site.client.get("/openapi.json").json
    schema = found["paths"][f"{BASE}/metrics"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

    def compare(schema: dict[str, Any], wanted: Any) -> None:
        while "$ref" in schema:
            schema = found["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        if isinstance(wanted, dict):
            assert set(schema["properties"]) == set(wanted)
            for name in wanted:
                compare(schema["properties"][name], wanted[name])
        elif isinstance(wanted, list) and wanted:
            compare(schema["items"], wanted[0])

    compare(schema, DOCUMENTED)
    cards = found["paths"][f"{BASE}/metrics/gpu"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    while "$ref" in cards:
        cards = found["components"]["schemas"][cards["$ref"].rsplit("/", 1)[1]]
    assert cards["type"] == "array"
