"""The service under gunicorn, and people before browsers that put up with no fault of a page."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser.visits import LOCAL, PATIENCE_MS, Visit, Visiting
from tests.e2e.frontends import FAST
from tests.infra.databases import migrated
from tests.support.redis import RedisServer
from tests.support.service import Service


def settings_for(redis_server: RedisServer) -> dict[str, str]:
    """Return what every service of these tests is told."""
    return {
        **FAST,
        "AUTHSVC_REDIS_URL": redis_server.url,
        "AUTHSVC_WORKERS": "1",
        "AUTHSVC_RATELIMIT_ENABLED": "off",
    }


@pytest.fixture
def ruoyi_alone(redis_server: RedisServer, tmp_path: Path) -> Iterator[Service]:
    """The service of a document that the demo does not speak, and of no other."""
    settings = settings_for(redis_server) | {"AUTHSVC_MOUNTS": "ruoyi=/"}
    with Service(tmp_path, settings) as running:
        yield running


@pytest.fixture(scope="package")
def service(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service as a newcomer runs it, whose captchas can be solved."""
    settings = settings_for(redis_server)
    redis_server.flush()
    running = Service(tmp_path_factory.mktemp("browser"), settings)
    running.prepare()
    with migrated(f"sqlite:///{running.data / 'authsvc.sqlite3'}"):
        pass
    with running:
        yield running


@pytest.fixture(scope="package")
def browser(chromium: str) -> Iterator[Browser]:
    """A Chromium that nobody sees."""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        expect.set_options(timeout=PATIENCE_MS)
        started = playwright.chromium.launch(executable_path=chromium, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="package")
def axe(node_clients: Path) -> Path:
    """The script of axe-core, which finds what keeps people out."""
    return node_clients / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture
def visiting(browser: Browser, service: Service) -> Iterator[Visiting]:
    """Open a browser profile: `visiting(locale="zh-CN", …)`; afterwards all must have been well."""
    visits: list[Visit] = []

    def visit(base: str = service.first, **options: Any) -> Visit:
        options = {"locale": "en-US", "viewport": {"width": 1280, "height": 900}, **options}
        context = browser.new_context(base_url=base, **options)
        context.set_default_timeout(PATIENCE_MS)
        visits.append(Visit(context, base))
        visits[-1].watch()
        return visits[-1]

    yield visit
    for each in visits:
        each.context.close()
    for each in visits:
        assert each.faults == []
        assert each.hosts <= {*LOCAL}, "asked another host"
