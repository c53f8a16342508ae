"""The demo page before a service whose session document fails with HTTP 200."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.people import choose, expect_inside, expect_picture, log_in, sign_up
from tests.browser.visits import Visiting
from tests.e2e.frontends import FAST
from tests.infra.databases import migrated
from tests.support.redis import RedisServer
from tests.support.service import Service


@pytest.fixture(scope="module")
def by_body(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service for clients that read only the body."""
    settings = {
        **FAST,
        "AUTHSVC_REDIS_URL": redis_server.url,
        "AUTHSVC_WORKERS": "1",
        "AUTHSVC_RATELIMIT_ENABLED": "off",
        "AUTHSVC_SESSION_STATUS": "200",
    }
    running = Service(tmp_path_factory.mktemp("by-body"), settings)
    running.prepare()
    with migrated(f"sqlite:///{running.data / 'authsvc.sqlite3'}"):
        pass
    with running:
        yield running


def test_the_page_tells_what_went_wrong_by_the_sentence(
    visiting: Visiting, by_body: Service
) -> None:
    visit = visiting(base=by_body.first)
    tab = visit.page()
    choose(tab, "dialect", "session")
    before = expect_picture(tab)
    sign_up(tab, answer="WRONG")
    expect(tab.locator("#error")).to_contain_text("captcha")
    expect_picture(tab, other_than=before)
    log_in(tab, "nobody", "a wrong password")
    expect(tab.locator("#error")).to_have_text("The user name or the password is wrong.")
    expect_inside(tab, sign_up(tab))
    assert visit.refused == []
