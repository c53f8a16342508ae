"""What people do on the demo page."""

import re

from playwright.sync_api import Page, expect

from tests.e2e.frontends import SOLUTION, fresh

PASSWORD = "Correct horse battery"
DIALECTS = ("native", "session", "token", "admin", "envelope")


def fill(tab: Page, name: str, answer: str = SOLUTION, password: str = PASSWORD) -> None:
    """Fill in what the form asks for."""
    tab.locator("#username").fill(name)
    tab.locator("#password").fill(password)
    if tab.locator("#email").is_visible():
        tab.locator("#email").fill(f"{fresh('mail')}@example.com")
    if tab.locator("#value").is_visible():
        expect_picture(tab)
        tab.locator("#value").fill(answer)


def sign_up(tab: Page, answer: str = SOLUTION, name: str | None = None) -> str:
    """Sign up; return the name."""
    name = name or fresh("browser")
    choose(tab, "way", "signUp")
    fill(tab, name, answer)
    tab.locator("#go").click()
    return name


def log_in(tab: Page, name: str, password: str = PASSWORD) -> None:
    """Log in."""
    choose(tab, "way", "logIn")
    fill(tab, name, password=password)
    tab.locator("#go").click()


def choose(tab: Page, switch: str, value: str) -> None:
    """Turn a switch of the page: `language`, `dialect` or `way`."""
    if switch == "dialect":
        tab.locator("#dialects label", has_text=value).click()
    else:
        tab.locator(f"label:has([name={switch}][value={value}])").click()


def expect_inside(tab: Page, name: str) -> None:
    """Hold the page to showing that this person is logged in."""
    expect(tab.locator("#inside-title")).to_contain_text(name)
    expect(tab.locator("#door")).to_be_hidden()


def expect_outside(tab: Page) -> None:
    """Hold the page to showing that nobody is logged in."""
    expect(tab.locator("#door")).to_be_visible()
    expect(tab.locator("#inside")).to_be_hidden()


def expect_picture(tab: Page, other_than: str = "") -> str:
    """Hold the page to showing the picture of a captcha, another one; return its address."""
    picture = tab.locator("#image")
    if other_than:
        expect(picture).not_to_have_attribute("src", other_than)
    expect(picture).to_have_attribute("src", re.compile("^blob:"))
    expect(picture).to_have_attribute("aria-busy", "false")
    expect(picture).to_have_js_property("complete", True)
    return picture.get_attribute("src") or ""
