"""The pages behind nginx, as config/nginx.conf has it: TLS, and other ports outside than inside."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import choose, expect_inside, sign_up
from tests.browser.visits import Visit, Visiting
from tests.e2e.frontends import FAST
from tests.infra.databases import migrated
from tests.support.nginx import Nginx
from tests.support.processes import HOST
from tests.support.redis import RedisServer
from tests.support.service import Service


@pytest.fixture(scope="module")
def nginx(
    nginx_binary: str, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nginx]:
    """nginx with the service behind it, whose ports nobody outside knows."""
    settings = {**FAST, "AUTHSVC_REDIS_URL": redis_server.url, "AUTHSVC_WORKERS": "1"}
    settings |= {"AUTHSVC_RATELIMIT_ENABLED": "off", "AUTHSVC_TRUSTED_PROXIES": HOST}
    running = Service(tmp_path_factory.mktemp("behind"), settings)
    running.prepare()
    with (
        migrated(f"sqlite:///{running.data / 'authsvc.sqlite3'}"),
        running,
        Nginx(tmp_path_factory.mktemp("nginx"), running.ports) as before,
    ):
        yield before


@pytest.fixture(params=["plain", "TLS"])
def visits(request: pytest.FixtureRequest, visiting: Visiting, nginx: Nginx) -> tuple[Visit, Visit]:
    """Visits of what stands for port 8080, and for 3000."""
    scheme, ports = (
        ("http", nginx.ports) if request.param == "plain" else ("https", nginx.tls_ports)
    )
    first, second = (
        visiting(f"{scheme}://{HOST}:{port}", ignore_https_errors=True) for port in ports
    )
    return first, second


def dialects_of(tab: Page) -> list[str]:
    """Returns the documents that the demo offers."""
    return tab.locator("#dialects label").all_text_contents()


def test_each_port_shows_the_documents_that_it_speaks_and_names_the_others(
    visits: tuple[Visit, Visit],
) -> None:
    spoken = (("token", "envelope"), ("envelope", "token"))
    for visit, (here, elsewhere) in zip(visits, spoken, strict=True):
        tab = visit.page()
        assert sorted(dialects_of(tab)) == sorted(["session", here, "admin", "native"])
        expect(tab.locator("#elsewhere")).to_contain_text(
            f"another address of this service: {elsewhere}."
        )
        choose(tab, "dialect", here)
        expect(tab.locator("#base")).to_have_text(f"{visit.base}/api")
        name = sign_up(tab)
        if here == "token":
            expect_inside(tab, name)
        else:
            expect(tab.locator("#note")).to_have_text("Your account was made. Now log in.")
        assert visit.refused == []


def test_an_operation_is_tried_where_it_is(visits: tuple[Visit, Visit]) -> None:
    first, second = visits
    tab = second.page("/docs/envelope")
    expect(tab.locator("#servers")).to_have_value("/api")
    operation = tab.locator(".opblock-post").first
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    with tab.expect_response(f"{second.base}/api/register"):
        operation.get_by_role("button", name="Execute").click()
    tab = first.page("/docs/envelope")
    expect(tab.locator("#elsewhere")).to_be_visible()
    expect(first.page("/docs").locator("[data-dialect=envelope]")).to_contain_text(
        "another address"
    )
