"""The demo page, as people use it."""

import json
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import (
    DIALECTS,
    PASSWORD,
    choose,
    expect_inside,
    expect_outside,
    expect_picture,
    fill,
    log_in,
    sign_up,
)
from tests.browser.visits import Visit, Visiting
from tests.e2e.frontends import SOLUTION, fresh
from tests.support.service import Service

# Of a token of the native document, kept by the client.
KEPT = "JSON.parse(localStorage.authsvc ?? 'null')"


@pytest.fixture
def visit(visiting: Visiting) -> Visit:
    """A visitor who reads English."""
    return visiting()


def refuses_with(visit: Visit, *statuses: int) -> None:
    """Hold the visit to these answers of 400 and more, in this order, and no others."""
    visit.wait_until(lambda: len(visit.refused) >= len(statuses))  # the console comes late
    assert [int(line.partition("status of ")[2][:3]) for line in visit.refused] == [*statuses]


def renewals(visit: Visit) -> int:
    """Return how many times tokens were renewed."""
    return visit.requests.count("POST /v1/token/refresh")


def test_a_page_that_speaks_none_of_the_documents_says_so_in_either_language(
    visiting: Visiting, ruoyi_alone: Service
) -> None:
    tab = visiting(ruoyi_alone.first).page()
    expect(tab.locator("#note")).to_have_text(re.compile("speaks none of the documents"))
    expect(tab.locator("#door")).to_be_hidden()
    tab.get_by_text("中文").click()
    expect(tab.locator("#note")).to_have_text("此处提供的文档，本页均不支持。")


def test_the_reference_of_a_document_that_the_page_does_not_speak_is_drawn(
    visiting: Visiting, ruoyi_alone: Service
) -> None:
    tab = visiting(ruoyi_alone.first).page("/docs/ruoyi")
    expect(tab.locator(".opblock").first).to_be_visible()
    expect(tab.locator(".errors-wrapper")).to_have_count(0)


# --- Signing up and logging in ---


def test_a_visitor_signs_up_with_a_captcha(visit: Visit) -> None:
    tab = visit.page()
    name = sign_up(tab)
    expect_inside(tab, name)
    expect(tab.locator("#claims")).to_contain_text("jti")
    expect(tab.locator("#left")).to_have_text(re.compile(r"119:\d\d"))
    refuses_with(visit)


def test_a_wrong_captcha_renews_the_picture_by_itself(visit: Visit) -> None:
    tab = visit.page()
    before = expect_picture(tab)
    name = sign_up(tab, answer="WRONG")
    expect(tab.locator("#error")).to_contain_text("captcha")
    expect_picture(tab, other_than=before)
    expect(tab.locator("#value")).to_have_value("")
    expect(tab.locator("#value")).to_be_focused()
    tab.locator("#value").fill(SOLUTION)
    tab.locator("#go").click()
    expect_inside(tab, name)
    refuses_with(visit, 400)


def test_a_name_that_is_taken_can_be_changed(visit: Visit) -> None:
    tab = visit.page()
    name = sign_up(tab)
    expect_inside(tab, name)
    tab.locator("#out").click()
    expect_outside(tab)
    sign_up(tab, name=name)
    expect(tab.locator("#error")).to_contain_text("taken")
    expect(tab.locator("#username")).to_be_focused()
    other = sign_up(tab)
    expect_inside(tab, other)
    refuses_with(visit, 409)


def test_a_reload_keeps_the_session_and_a_logout_ends_it(visit: Visit) -> None:
    tab = visit.page()
    name = sign_up(tab)
    expect_inside(tab, name)
    tab.reload()
    expect_inside(tab, name)
    token = tab.evaluate(f"{KEPT}.accessToken")
    tab.locator("#out").click()
    expect_outside(tab)
    expect(tab.locator("#note")).to_have_text("You are logged out.")
    tab.reload()
    expect_outside(tab)
    headers = {"Authorization": f"Bearer {token}"}
    assert visit.context.request.get("/v1/me", headers=headers).status == 401
    log_in(tab, name)
    expect_inside(tab, name)
    refuses_with(visit)


def test_a_wrong_password_is_told(visit: Visit) -> None:
    tab = visit.page()
    log_in(tab, fresh("nobody"), "Wrong password")
    expect(tab.locator("#error")).to_have_text("The user name or the password is wrong.")
    refuses_with(visit, 401)


def test_a_form_sent_twice_at_once_signs_up_once(visit: Visit) -> None:
    tab = visit.page()
    name = fresh("twice")
    fill(tab, name)
    tab.locator("#go").focus()
    tab.evaluate("() => { for (const _ of [1, 2, 3]) document.forms[0].requestSubmit() }")
    expect_inside(tab, name)
    assert visit.requests.count("POST /v1/signup") == 1
    refuses_with(visit)


def test_a_button_keeps_the_focus_when_what_it_did_failed(visit: Visit) -> None:
    tab = visit.page()
    choose(tab, "way", "logIn")
    fill(tab, "somebody")
    visit.context.route("**/v1/login", lambda route: route.fulfill(status=503, body="{}"))
    tab.locator("#go").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#error")).to_contain_text("later")
    expect(tab.locator("#go")).to_be_focused()
    refuses_with(visit, 503)


def test_what_people_call_themselves_and_their_browsers_is_shown_as_text(
    visiting: Visiting,
) -> None:
    name = f"<img src=x onerror=alert(1)>{fresh('x')}"
    visit = visiting(user_agent="<svg onload=alert(2)>")
    tab = visit.page()
    expect_inside(tab, sign_up(tab, name=name))
    expect(tab.locator("#claims")).to_contain_text(name)
    tab.locator("#who").click()
    expect(tab.locator("#result")).to_contain_text(name)
    tab.locator("#list").click()
    expect(tab.locator("#result")).to_contain_text("<svg onload=alert(2)>")
    expect(tab.locator("#inside img, #inside svg, #exchanges img, #exchanges svg")).to_have_count(0)
    refuses_with(visit)


def test_the_time_left_is_right_where_the_clock_is_wrong(visit: Visit) -> None:
    visit.context.add_init_script("const now = Date.now; Date.now = () => now() + 5 * 3600e3")
    tab = visit.page()
    name = sign_up(tab)
    expect_inside(tab, name)
    expect(tab.locator("#left")).to_have_text(re.compile(r"119:\d\d|120:00"))
    tab.locator("#who").click()
    expect(tab.locator("#result")).to_contain_text(name)
    assert renewals(visit) == 0


def test_an_empty_field_is_found_before_anything_is_sent(visit: Visit) -> None:
    tab = visit.page()
    tab.locator("#go").click()
    expect(tab.locator("#error")).to_have_text("Please fill in this field.")
    expect(tab.locator("#username")).to_be_focused()
    assert "POST /v1/signup" not in visit.requests


# --- Inside ---


def test_who_and_sessions_are_shown_and_a_session_is_ended(visiting: Visiting) -> None:
    here, elsewhere = visiting(), visiting()
    tab, other = here.page(), elsewhere.page()
    name = sign_up(tab)
    expect_inside(tab, name)
    log_in(other, name)
    expect_inside(other, name)
    tab.locator("#who").click()
    expect(tab.locator("#result")).to_contain_text(name)
    tab.locator("#list").click()
    items = tab.locator("#result li")
    expect(items).to_have_count(2)
    items.filter(has_not_text="this one").get_by_role("button").click()
    expect(items).to_have_count(1)
    other.locator("#who").click()
    expect_outside(other)
    expect(other.locator("#error")).to_contain_text("ended")
    refuses_with(elsewhere, 401, 401)


def test_the_sound_of_a_captcha_plays(visit: Visit) -> None:
    tab = visit.page()
    expect_picture(tab)
    with tab.expect_response(lambda answer: "/audio?lang=en" in answer.url) as heard:
        tab.get_by_role("button", name="Play as sound").click()
    assert heard.value.status in (200, 206)
    expect(tab.locator("body")).to_have_attribute("data-sound", "playing")
    expect(tab.locator("#error")).to_be_empty()


def test_another_picture_is_shown_when_asked_for(visit: Visit) -> None:
    tab = visit.page()
    before = expect_picture(tab)
    tab.get_by_role("button", name="New picture").click()
    expect_picture(tab, other_than=before)
    expect(tab.locator("#value")).to_be_focused()
    picture = tab.locator("#exchanges details", has_text="GET /v1/captcha/").first
    expect(picture).to_contain_text("image/png")
    expect(picture).to_contain_text("bytes")


# --- Tabs ---


@pytest.mark.parametrize(("locks", "most"), [("Web Locks", 1), ("no locks", 2)])
def test_two_tabs_that_renew_at_once_stay_logged_in_and_ask_once_under_a_lock(
    visit: Visit, locks: str, most: int
) -> None:
    if locks == "no locks":
        hide = "Object.defineProperty(Navigator.prototype, 'locks', {value: undefined})"
        visit.context.add_init_script(hide)
    first = visit.page()
    name = sign_up(first)
    expect_inside(first, name)
    second = visit.page()
    expect_inside(second, name)
    before = first.evaluate(f"{KEPT}.refreshToken")
    age = f"const kept = {KEPT}; localStorage.authsvc = JSON.stringify({{...kept, renewAt: 0}})"
    first.evaluate(f"() => {{ {age} }}")
    second.wait_for_function(f"{KEPT}.renewAt === 0")
    at = first.evaluate("Date.now() + 300")
    click = (
        "([id, at]) => { setTimeout(() => document.getElementById(id).click(), at - Date.now()) }"
    )
    for tab in (first, second):
        tab.evaluate(click, ["who", at])
    for tab in (first, second):
        expect(tab.locator("#result")).to_contain_text(name)
        expect_inside(tab, name)
    assert 1 <= renewals(visit) <= most
    for tab in (first, second):
        tab.wait_for_function(f"before => {KEPT}.refreshToken !== before", arg=before)
    # What one tab has written, the other sees late.
    visit.wait_until(
        lambda: len({tab.evaluate(f"{KEPT}.refreshToken") for tab in (first, second)}) == 1
    )
    refuses_with(visit)


def test_a_token_that_is_refused_is_renewed_once_and_the_request_repeated(visit: Visit) -> None:
    tab = visit.page()
    name = sign_up(tab)
    expect_inside(tab, name)
    spoil = "{...kept, accessToken: kept.accessToken + 'x'}"
    tab.evaluate(f"() => {{ const kept = {KEPT}; localStorage.authsvc = JSON.stringify({spoil}) }}")
    tab.locator("#who").click()
    expect(tab.locator("#result")).to_contain_text(name)
    assert renewals(visit) == 1
    refuses_with(visit, 401)


def test_a_logout_in_one_tab_is_seen_in_the_other(visit: Visit) -> None:
    first = visit.page()
    name = sign_up(first)
    expect_inside(first, name)
    second = visit.page()
    expect_inside(second, name)
    first.locator("#out").click()
    expect_outside(second)


def test_a_page_that_comes_out_of_the_browsers_memory_looks_anew(visit: Visit) -> None:
    tab = visit.page()
    expect_inside(tab, sign_up(tab))
    tab.evaluate("delete localStorage.authsvc")  # as another tab may have done meanwhile
    tab.evaluate("dispatchEvent(new PageTransitionEvent('pageshow', {persisted: true}))")
    expect_outside(tab)


# --- Documents ---


def shown(tab: Page, method: str, path: str) -> Any:
    """Return the body of the newest answer to a request, as the page shows it."""
    summary = tab.locator("#exchanges details", has_text=f"{method} ").filter(has_text=path).first
    expect(summary.locator("pre")).to_have_count(2)
    text = summary.locator("pre").nth(1).text_content() or ""
    return json.loads(text[text.index("{") :])


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_document_is_spoken_and_shown(visit: Visit, dialect: str) -> None:
    tab = visit.page()
    choose(tab, "dialect", dialect)
    name = sign_up(tab)
    if dialect == "envelope":
        expect(tab.locator("#note")).to_have_text("Your account was made. Now log in.")
        tab.locator("#password").fill(PASSWORD)
        tab.locator("#go").click()
    expect_inside(tab, name)
    paths = {"native": "/v1/signup", "session": "/signup", "admin": "/api/auth/register"}
    answer = shown(tab, "POST", paths.get(dialect, "/api/register"))
    own = {
        "native": answer.get("tokenType") == "Bearer",
        "session": answer.get("message") == "User signup successfully",
        "token": answer.get("username") == name,
        "admin": answer.get("message") == "注册成功",
        "envelope": answer.get("success") is True,
    }
    assert own[dialect], answer
    assert PASSWORD not in (tab.locator("#exchanges").text_content() or "")
    tab.locator("#who").click()
    expect(tab.locator("#result")).to_contain_text(name)
    refuses_with(visit)


# --- Languages ---


def test_the_language_is_the_browsers_and_can_be_changed(visiting: Visiting) -> None:
    visit = visiting(locale="zh-CN")
    tab = visit.page()
    expect(tab.locator("html")).to_have_attribute("lang", "zh-CN")
    expect(tab.locator("#go")).to_have_text("注册")
    tab.locator("#go").click()
    expect(tab.locator("#error")).to_have_text("请填写此项。")
    choose(tab, "language", "en")
    expect(tab.locator("html")).to_have_attribute("lang", "en")
    expect(tab.locator("#go")).to_have_text("Sign up")
    tab.reload()
    expect(tab.locator("#go")).to_have_text("Sign up")


def test_the_native_document_answers_in_the_language_of_the_page(visiting: Visiting) -> None:
    visit = visiting(locale="zh-CN")
    tab = visit.page()
    sign_up(tab, name="a\tb")
    expect(tab.locator("#error")).to_contain_text("用户名")
    assert shown(tab, "POST", "/v1/signup")["title"] == "用户名无效"
    refuses_with(visit, 400)


# --- Keyboard ---


def test_a_keyboard_is_enough_to_sign_up_log_out_and_log_in(visit: Visit) -> None:
    tab = visit.page()
    name = fresh("keyboard")

    def go_to(name_of_element: str) -> None:
        for _ in range(30):
            if tab.evaluate("document.activeElement.id") == name_of_element:
                return
            tab.keyboard.press("Tab")
        raise AssertionError(f"{name_of_element} cannot be reached")

    expect_picture(tab)
    for element, text in (("username", name), ("password", PASSWORD), ("value", SOLUTION)):
        go_to(element)
        tab.keyboard.type(text)
    tab.keyboard.press("Enter")
    expect_inside(tab, name)
    go_to("out")
    tab.keyboard.press("Enter")
    expect_outside(tab)
    tab.locator("[name=way]:checked").focus()
    tab.keyboard.press("ArrowRight")
    expect(tab.locator("#go")).to_have_text("Log in")
    for element, text in (("username", name), ("password", PASSWORD)):
        go_to(element)
        tab.keyboard.type(text)
    tab.keyboard.press("Enter")
    expect_inside(tab, name)
