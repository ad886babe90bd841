"""A post office whose outbound gate lets loopback receivers be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.conftest import make_cast
from tests.fakes.post_office import PostOffice
from tests.fakes.receiver import Receiver
from webapp.runtime import Runtime
from webapp.webhooks import service


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def other() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def office(
    make_rt: Callable[..., Runtime], receiver: Receiver, other: Receiver, monkeypatch: pytest.MonkeyPatch
) -> PostOffice:
    rt = make_rt(BRAINSTEM_ALLOW_HOSTS=f"{receiver.host},{other.host}")
    return PostOffice(rt, make_cast(rt), monkeypatch)


@pytest.fixture
def subscribe(office: PostOffice) -> Callable[..., tuple[str, str]]:
    """`subscribe(url, events=[...], **more)` as alice: id and secret."""

    def made(url: str, *events: str, **more: object) -> tuple[str, str]:
        with office.as_(office.cast.alice) as ctx:
            row, secret = service.subscribe(ctx, url, list(events) or ["task.*"], **more)  # type: ignore[arg-type]
            return row.id, secret

    return made
