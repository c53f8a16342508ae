"""The reference, as people use it."""

import pytest
from playwright.sync_api import expect

from tests.browser.people import DIALECTS
from tests.browser.visits import Visiting


def test_the_list_names_every_mounted_dialect(visiting: Visiting) -> None:
    visit = visiting()
    tab = visit.page("/docs")
    assert visit.refused == []
    for dialect in DIALECTS:
        item = tab.locator(f'[data-dialect="{dialect}"]')
        expect(item.locator("strong")).to_have_text(dialect)
        expect(item.locator(".title")).not_to_be_empty()
        expect(item.locator(".language")).not_to_be_empty()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_reference_is_drawn(visiting: Visiting, dialect: str) -> None:
    tab = visiting().page(f"/docs/{dialect}")
    expect(tab.locator(".opblock").first).to_be_visible()
    expect(tab.locator(".errors-wrapper")).to_have_count(0)
    tab.get_by_role("link", name="authsvc · documents").click()
    expect(tab).to_have_url(f"{tab.context.pages[0].url.partition('/docs')[0]}/docs")


def test_an_operation_can_be_tried(visiting: Visiting) -> None:
    tab = visiting().page("/docs/native")
    operation = tab.locator(".opblock-get").filter(has=tab.locator('[data-path="/captcha"]'))
    operation.locator(".opblock-summary-control").click()
    operation.get_by_role("button", name="Try it out").click()
    with tab.expect_response(lambda answer: answer.url.endswith("/v1/captcha")) as tried:
        operation.get_by_role("button", name="Execute").click()
    assert tried.value.status == 200
    expect(operation.locator(".live-responses-table .response-col_status").last).to_contain_text(
        "200"
    )
