"""One application on the fake engine for a file of tests, and a client of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from served import App, app_on_fake


@pytest.fixture(scope="module")
def app() -> Iterator[App]:
    with app_on_fake() as served:
        yield served


@pytest.fixture(scope="module")
def client(app: App) -> Iterator[TestClient]:
    with TestClient(app.app) as client:
        yield client
