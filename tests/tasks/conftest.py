"""The behaviour of tasks, on both runtimes."""

from __future__ import annotations

import pytest

from tests.conftest import Cast, make_cast
from tests.fakes.lab import Lab
from webapp.core.context import Actor
from webapp.runtime import Runtime


@pytest.fixture
def lab(both_rt: Runtime) -> Lab:
    return Lab(both_rt)


@pytest.fixture
def cast(both_rt: Runtime) -> Cast:
    return make_cast(both_rt)


@pytest.fixture
def alice(cast: Cast) -> Actor:
    return cast.alice


@pytest.fixture
def charlie(cast: Cast) -> Actor:
    return cast.charlie
