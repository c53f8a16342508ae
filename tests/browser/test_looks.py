"""How the pages look, and whether everyone can use them; pictures go to var/screenshots."""

import io
import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.people import DIALECTS, choose, expect_inside, expect_picture, sign_up
from tests.browser.visits import SCREENSHOTS, Visiting
from tests.support.service import ROOT, Service

PICTURE = ROOT / "docs" / "demo.png"
PICTURE_MAX_BYTES = 60_000
COLOURS = 64
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 320, "height": 640}
LOOKS = [
    (scheme, locale, size)
    for scheme in ("light", "dark")
    for locale in ("en-US", "zh-CN")
    for size in (WIDE, PHONE)
]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def take(tab: Page, name: str) -> None:
    """Keep a picture of the whole page."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def assert_open_to_all(tab: Page) -> None:
    """Hold a page to every rule of axe, and to its width."""
    run = "rules => axe.run(document, {runOnly: rules}).then(found => found.violations)"
    violations: list[dict[str, Any]] = tab.evaluate(run, RULES)
    assert not [
        (each["id"], [node["html"] for node in each["nodes"]], each["help"]) for each in violations
    ]
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize(
    ("scheme", "locale", "size"), LOOKS, ids=lambda value: str(value).replace(" ", "")
)
def test_everyone_can_use_the_demo_in_every_state(
    visiting: Visiting, axe: Path, scheme: str, locale: str, size: dict[str, int]
) -> None:
    visit = visiting(locale=locale, color_scheme=scheme, viewport=size, reduced_motion="reduce")
    visit.context.add_init_script(path=axe)
    name = f"demo-{scheme}-{locale[:2]}-{size['width']}"
    tab = visit.page()
    before = expect_picture(tab)
    assert_open_to_all(tab)
    take(tab, f"{name}-door")
    choose(tab, "way", "logIn")
    expect(tab.locator("#captcha")).to_be_hidden()
    assert_open_to_all(tab)
    take(tab, f"{name}-login")
    user = sign_up(tab, answer="WRONG")
    expect(tab.locator("#error")).not_to_be_empty()
    expect_picture(tab, other_than=before)
    assert_open_to_all(tab)
    take(tab, f"{name}-wrong")
    choose(tab, "dialect", "token")
    sign_up(tab, name=user)
    expect_inside(tab, user)
    tab.locator("#who").click()
    expect(tab.locator("#result")).to_contain_text(user)
    assert_open_to_all(tab)
    tab.locator("#list").click()
    expect(tab.locator("#result li")).to_have_count(1)
    assert_open_to_all(tab)
    take(tab, f"{name}-inside")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_everyone_can_use_the_list_of_documents(
    visiting: Visiting, axe: Path, scheme: str, size: dict[str, int]
) -> None:
    visit = visiting(color_scheme=scheme, viewport=size)
    visit.context.add_init_script(path=axe)
    tab = visit.page("/docs")
    assert_open_to_all(tab)
    take(tab, f"docs-{scheme}-{size['width']}")


def assert_reference_open_to_all(tab: Page, name: str) -> None:
    """Hold a reference, the viewer's own markup too, to every rule, in every state."""
    operation = tab.locator(".opblock-post").first
    expect(operation).to_be_visible()
    assert_open_to_all(tab)
    operation.locator(".opblock-summary-control").click()
    expect(operation.locator(".responses-table")).to_be_visible()
    assert_open_to_all(tab)
    operation.get_by_role("button", name="Try it out").click()
    expect(operation.locator("textarea")).to_be_visible()
    assert_open_to_all(tab)
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table")).to_be_visible()
    assert_open_to_all(tab)
    take(tab, name)
    if tab.locator(".btn.authorize").count():
        tab.locator(".btn.authorize").first.click()
        expect(tab.get_by_role("dialog", name="Authorizations")).to_be_visible()
        assert_open_to_all(tab)


REFERENCE_LOOKS = pytest.mark.parametrize(
    ("scheme", "size"), [("light", WIDE), ("dark", PHONE)], ids=["wide-light", "phone-dark"]
)


@pytest.mark.parametrize("dialect", DIALECTS)
@REFERENCE_LOOKS
def test_everyone_can_use_the_reference_in_every_state(
    visiting: Visiting, axe: Path, dialect: str, scheme: str, size: dict[str, int]
) -> None:
    visit = visiting(color_scheme=scheme, viewport=size, reduced_motion="reduce")
    visit.context.add_init_script(path=axe)
    tab = visit.page(f"/docs/{dialect}")
    assert_reference_open_to_all(tab, f"reference-{dialect}-{size['width']}")


@REFERENCE_LOOKS
def test_everyone_can_use_the_reference_of_a_service_with_one_document(
    visiting: Visiting, axe: Path, ruoyi_alone: Service, scheme: str, size: dict[str, int]
) -> None:
    visit = visiting(ruoyi_alone.first, color_scheme=scheme, viewport=size)
    visit.context.add_init_script(path=axe)
    assert_open_to_all(visit.page("/docs"))
    tab = visit.page("/docs/ruoyi")
    assert_reference_open_to_all(tab, f"reference-ruoyi-{size['width']}")


def test_the_picture_for_readers_is_drawn_and_kept_where_that_is_set(visiting: Visiting) -> None:
    visit = visiting(viewport={"width": 1040, "height": 720}, device_scale_factor=1)
    tab = visit.page()
    expect_inside(tab, sign_up(tab, name="alice"))
    tab.locator("#list").click()
    expect(tab.locator("#result li")).to_have_count(1)
    tab.evaluate("scrollTo(0, 0)")
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    picture = PICTURE if os.environ.get("PICTURE") else SCREENSHOTS / "demo.png"
    with Image.open(io.BytesIO(tab.screenshot())) as drawn:
        drawn.convert("RGB").quantize(COLOURS).save(picture, optimize=True)
    assert picture.stat().st_size < PICTURE_MAX_BYTES
