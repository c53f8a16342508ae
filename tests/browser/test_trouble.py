"""The demo page where something is amiss: its storage, the service, its mounts, its scripts."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Route, expect

from tests.browser.people import (
    PASSWORD,
    choose,
    expect_inside,
    expect_outside,
    expect_picture,
    log_in,
    sign_up,
)
from tests.browser.visits import Visit, Visiting
from tests.e2e.frontends import FAST
from tests.support.redis import RedisServer
from tests.support.service import Service

RUBBISH = (
    "{",
    "null",
    "5",
    "[]",
    "{}",
    '"x"',
    '{"accessToken": 5, "expiresIn": 1}',
    '{"accessToken": "x"}',
    '{"accessToken": "a.b.c", "expiresIn": "x", "renewAt": {}}',
    '{"accessToken": "e30.e30.e30", "expiresIn": 7200}',
)
BLOCKED = """Object.defineProperty(window, "localStorage", {
    get() { throw new DOMException("blocked", "SecurityError") },
})"""
FULL = """() => {
    for (let size = 2 ** 22; size >= 1; size /= 2)
        for (let name = 0; ; name++)
            try { localStorage[`${size} ${name}`] = "x".repeat(size) } catch { break }
}"""


def answered(body: Any, status: int = 200, **headers: str) -> Any:
    """Returns what answers a request in the service's place."""

    def answer(route: Route) -> None:
        route.fulfill(status=status, headers=headers, json=body)

    return answer


@pytest.fixture
def visit(visiting: Visiting) -> Visit:
    """A visitor who reads English."""
    return visiting()


# --- Storage ---


def test_rubbish_in_the_storage_is_nobody_logged_in(visit: Visit) -> None:
    tab = visit.page()
    for rubbish in RUBBISH:
        tab.evaluate("rubbish => { localStorage.authsvc = rubbish }", rubbish)
        tab.reload()
        tab.wait_for_selector("body[data-ready]")
        expect_outside(tab)
    tab.evaluate("localStorage['authsvc-demo.language'] = 'toString'")
    tab.reload()
    expect_inside(tab, sign_up(tab))


def test_the_page_works_where_storage_is_blocked(visit: Visit) -> None:
    visit.context.add_init_script(BLOCKED)
    tab = visit.page()
    name = sign_up(tab)
    expect_inside(tab, name)
    tab.locator("#who").click()
    expect(tab.locator("#result")).to_contain_text(name)
    tab.locator("#out").click()
    expect_outside(tab)


def test_the_page_works_where_storage_is_full(visit: Visit) -> None:
    tab = visit.page()
    tab.evaluate(FULL)
    name = sign_up(tab)
    expect_inside(tab, name)
    choose(tab, "language", "zh")
    tab.locator("#who").click()
    expect(tab.locator("#result")).to_contain_text(name)


# --- The service ---


def test_a_limit_that_is_reached_is_told_with_its_wait_in_every_document(visit: Visit) -> None:
    tab = visit.page()
    expect_picture(tab)
    visit.context.route("**/captcha", answered({"error": "x"}, 429, **{"Retry-After": "7"}))
    tab.locator("#renew").click()
    expect(tab.locator("#error")).to_have_text("Too many requests. Please wait 7 s.")
    choose(tab, "dialect", "session")
    expect(tab.locator("#error")).to_have_text("Too many requests. Please wait 7 s.")


def test_a_service_that_is_gone_is_told_and_comes_back(visit: Visit) -> None:
    tab = visit.page()
    expect_picture(tab)
    visit.context.set_offline(True)
    tab.locator("#renew").click()
    expect(tab.locator("#error")).to_have_text("The service cannot be reached.")
    choose(tab, "dialect", "session")
    expect(tab.locator("#error")).to_have_text("The service cannot be reached.")
    visit.context.set_offline(False)
    expect_inside(tab, sign_up_again(tab))
    assert visit.unreached


def sign_up_again(tab: Any) -> str:
    """Ask for another picture, and sign up; return the name."""
    tab.locator("#renew").click()
    return sign_up(tab)


def test_a_page_that_cannot_learn_of_the_mounts_says_so(visit: Visit) -> None:
    visit.context.route("**/demo/mounts.json", answered({"error": "x"}, 503))
    tab = visit.page()
    expect(tab.locator("#error")).to_have_text("The service cannot be reached.")
    expect(tab.locator("#door")).to_be_hidden()
    choose(tab, "language", "zh")
    expect(tab.locator("#error")).to_have_text("无法连接到服务。")


def test_redis_that_is_gone_is_told_and_comes_back(
    visit: Visit, breakable_redis: RedisServer
) -> None:
    tab = visit.page()
    expect_picture(tab)
    breakable_redis.kill()
    for dialect in ("session", "native"):
        choose(tab, "dialect", dialect)
        expect(tab.locator("#error")).to_have_text(
            "The service could not do that. Please try later."
        )
    breakable_redis.ensure_running()
    choose(tab, "dialect", "session")
    expect_inside(tab, sign_up_again(tab))


# --- Mounts ---


def test_a_page_tells_of_the_documents_that_it_speaks_elsewhere(visit: Visit) -> None:
    mounts = [{"dialect": "of tomorrow", "url": "/"}, {"dialect": "native", "url": None}]
    visit.context.route("**/demo/mounts.json", answered({"mounts": mounts, "docs": True}))
    tab = visit.page()
    expect(tab.locator("#note")).to_contain_text("none of the documents")
    expect(tab.locator("#elsewhere")).to_contain_text("another address of this service: native.")
    expect(tab.get_by_role("link", name="Reference of the documents")).to_be_visible()


@pytest.fixture(scope="module")
def one_dialect(
    redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service of an operator with one frontend, below a prefix of its own."""
    settings = {**FAST, "AUTHSVC_REDIS_URL": redis_server.url, "AUTHSVC_WORKERS": "1"}
    settings |= {"AUTHSVC_MOUNTS": "envelope=/api", "AUTHSVC_DOCS": "off"}
    running = Service(tmp_path_factory.mktemp("envelope"), settings)
    running.migrate()
    with running:
        yield running


def test_the_page_of_one_document_without_a_logout_says_what_it_can_do(
    visiting: Visiting, one_dialect: Service
) -> None:
    visit = visiting(one_dialect.first)
    tab = visit.page()
    expect(tab.locator("#dialects label")).to_have_text(["envelope"])
    expect(tab.locator("#base")).to_have_text(f"{one_dialect.first}/api")
    expect(tab.locator("#captcha")).to_be_hidden()
    expect(tab.locator("#reference")).to_be_hidden()
    name = sign_up(tab)
    expect(tab.locator("#note")).to_have_text("Your account was made. Now log in.")
    tab.locator("#password").fill(PASSWORD)
    tab.locator("#go").click()
    expect_inside(tab, name)
    for native in ("who", "list", "refresh"):
        expect(tab.locator(f"#{native}")).to_be_hidden()
    tab.locator("#out").click()
    expect_outside(tab)
    expect(tab.locator("#note")).to_contain_text("stays good until its end")
    log_in(tab, name)
    expect_inside(tab, name)
    assert visit.refused == []


# --- Scripts ---


@pytest.mark.parametrize("path", ["/demo", "/docs/native"])
def test_a_browser_without_scripts_is_told_that_they_are_needed(
    visiting: Visiting, path: str
) -> None:
    tab = visiting(java_script_enabled=False).context.new_page()
    tab.goto(path)
    assert "needs JavaScript" in tab.locator("noscript").inner_text()


def test_a_captcha_that_comes_late_is_not_shown_for_another_choice(visit: Visit) -> None:
    tab = visit.page()
    expect_picture(tab)
    held: list[Route] = []
    visit.context.route("**/v1/captcha", lambda route: held.append(route))
    tab.locator("#renew").click()
    visit.wait_until(lambda: len(held) == 1)
    choose(tab, "dialect", "session")
    shown = expect_picture(tab)
    visit.context.route("**/v1/captcha/late", answered({}))
    held[0].fulfill(json={"captchaId": "late"})
    late = tab.locator("#exchanges details", has_text="GET /v1/captcha/late")
    expect(late.locator("pre")).to_have_count(2)
    expect(tab.locator("#renew")).not_to_have_attribute("aria-disabled", "true")
    assert expect_picture(tab) == shown
