"""Settings fail loudly: one line that names what to change."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from webapp import settings as module
from webapp.settings import OPTIONS, SettingsError, ensure_secret_key, load


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"BRAINSTEM_HOME": str(tmp_path)}


def refused(env: dict[str, str], **flags: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load(env, **flags)
    assert caught.value.code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_set_is_enough(home: dict[str, str]) -> None:
    found = load(home)
    assert not found.distributed
    assert found.origins["port"] == "default"
    assert (found.host, found.port, found.auth_required) == ("127.0.0.1", 8000, False)


def test_a_flag_beats_the_environment_beats_the_file(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "brainstem.env").write_text("# ours\nPORT=8001\nexport BRAINSTEM_HOST='127.0.0.2'\n\n", "utf-8")
    assert (load(home).port, load(home).host) == (8001, "127.0.0.2")
    assert load({**home, "PORT": "8002"}).port == 8002
    assert load({**home, "PORT": "8002"}, port=8003).port == 8003
    assert load(home).origins["port"] == "file (PORT)"


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_setting_is_declared_in_full(option: Any) -> None:
    assert option.env[0] == option.env[0].upper()
    assert option.help.endswith((".", "name"))
    if option.check and option.default not in ("", ()):
        assert option.check(option.default) is None, "its own default"
    plain = ("public_url", "openai_base_url", "hub_url", "mcp_url")  # addresses that carry no password
    if option.name.endswith(("_key", "_url")) and option.name not in plain:
        assert option.secret


def test_names_are_used_once() -> None:
    names = [env for option in OPTIONS for env in option.env]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ({"BRAINSTEM_RATELIMIT": "x"}, "did you mean BRAINSTEM_RATE_LIMIT?"),
        ({"BRAINSTEM_QQQQQQQQQQQQQQQ": "x"}, "see `brainstem config`"),
        ({"PORT": "eighty"}, "PORT='eighty' is not usable"),
        ({"PORT": "70000"}, "between 0 and 65535"),
        ({"DEBUG": "maybe"}, "use true or false"),
        ({"LOG_LEVEL": "loud"}, "must be one of DEBUG"),
        ({"BRAINSTEM_RATE_LIMIT": "often"}, "no rate"),
        ({"BRAINSTEM_RATE_LIMIT": "0/minute"}, "no rate"),
        ({"BRAINSTEM_LOGIN_RATE_LIMIT": "10"}, "no rate"),
        ({"BRAINSTEM_FETCH_PORTS": "81,http"}, "'http'"),
        ({"BRAINSTEM_FETCH_PORTS": "99999999"}, "no port"),
        ({"BRAINSTEM_PLUGINS": "mine"}, "name=module:object"),
        ({"BRAINSTEM_WORKER_THREADS": "inference"}, "queue=number"),
        ({"BRAINSTEM_LEASE_SECONDS": "nan"}, "at least 1"),
        ({"BRAINSTEM_TASK_LIMIT_SECONDS": "inf"}, "at least 1"),
        ({"BRAINSTEM_LEASE_SECONDS": "10", "BRAINSTEM_BEAT_SECONDS": "6"}, "at most half"),
        ({"SECRET_KEY": "short"}, "shorter than 16"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"DATABASE_URL": "postgresql://x/y"}, "together"),
        ({"REDIS_URL": "redis://x"}, "together"),
        ({"SECRET_KEY_FILE": "/nowhere/at/all"}, "cannot read /nowhere/at/all"),
    ],
)
def test_mistakes_are_told(home: dict[str, str], env: dict[str, str], says: str) -> None:
    assert says in refused({**home, **env})


@pytest.mark.parametrize("rate", ["1/second", "10 per minute", "600/minute", "5/2 hours", "7/day"])
def test_rates_that_pass_are_rates_of_the_library(home: dict[str, str], rate: str) -> None:
    from webapp.core.limits import _parse

    assert load({**home, "BRAINSTEM_RATE_LIMIT": rate}).rate_limit == rate
    assert _parse(rate).amount >= 1


def test_a_secret_is_not_repeated_in_a_complaint(home: dict[str, str]) -> None:
    assert "hunter2" not in refused({**home, "SECRET_KEY": "hunter2"})
    assert "hunter2" not in refused({**home, "DATABASE_URL": "mysql://u:hunter2@host/db"})


def test_a_secret_from_a_file(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "key").write_text("a-long-enough-secret-key\n", "utf-8")
    assert load({**home, "SECRET_KEY_FILE": str(tmp_path / "key")}).secret_key == "a-long-enough-secret-key"
    assert "unknown" in refused({**home, "BRAINSTEM_PORT_FILE": "x"}), "only secrets come from files"


def test_a_line_of_the_file_that_is_none(home: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "brainstem.env").write_text("PORT 80\n", "utf-8")
    assert "line 1" in refused(home)


def test_an_empty_value_is_not_set(home: dict[str, str]) -> None:
    assert load({**home, "PORT": "", "BRAINSTEM_TRUSTED_HOSTS": " , "}).port == 8000


@pytest.mark.parametrize("url", ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg://u:p@h/d"])
def test_all_names_of_postgres(home: dict[str, str], url: str) -> None:
    found = load({**home, "DATABASE_URL": url, "REDIS_URL": "redis://h"})
    assert found.database_url == "postgresql+psycopg://u:p@h/d"
    assert found.distributed


def test_the_key_is_made_once_and_kept_from_others(home: dict[str, str], tmp_path: Path) -> None:
    """A48."""
    made = ensure_secret_key(load(home))
    path = tmp_path / "secret.key"
    assert len(made) >= 48
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_secret_key(load(home)) == made
    os.chmod(path, 0o644)
    with pytest.raises(SettingsError) as caught:
        ensure_secret_key(load(home))
    assert "can be read by others" in str(caught.value)


def test_two_starts_at_once_agree_on_the_key(home: dict[str, str]) -> None:
    import threading

    gate = threading.Barrier(6)
    keys: list[str] = []

    def go() -> None:
        gate.wait()
        keys.append(ensure_secret_key(load(home)))

    threads = [threading.Thread(target=go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(keys) == 6
    assert len(set(keys)) == 1
    assert keys[0]


def test_threads_of_a_queue(home: dict[str, str]) -> None:
    found = load({**home, "BRAINSTEM_WORKER_THREADS": "inference=7"})
    assert (found.threads_of("inference"), found.threads_of("crawling")) == (7, 1)
    assert module.BY_NAME["worker_threads"].default
