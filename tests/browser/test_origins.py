"""A frontend of another origin: its page signs up and logs in through every document."""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from tests.browser.people import PASSWORD
from tests.browser.visits import Visiting
from tests.e2e.frontends import DIALECTS, SESSION, SOLUTION, Dialect, fresh
from tests.support.service import Service

ASK = """async ([url, body]) => {
    const answer = await fetch(url, {
        method: body ? "POST" : "GET",
        headers: body ? { "Content-Type": "application/json" } : {},
        body: body ? JSON.stringify(body) : undefined,
    });
    return [answer.status, await answer.json()];
}"""
TOKENS = ("session_token", "token", "accessToken")
NATIVE = Dialect("native", 0, "/v1/signup", "/v1/login", 201, {})


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b'<!doctype html><title>A frontend</title><link rel="icon" href="data:,">')

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def frontend() -> Iterator[str]:
    """The origin of a frontend that has nothing to do with the service."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("dialect", [NATIVE, *DIALECTS], ids=lambda dialect: dialect.name)
def test_a_page_of_another_origin_signs_up_and_logs_in(
    visiting: Visiting, service: Service, frontend: str, dialect: Dialect
) -> None:
    base = (service.first, service.second)[dialect.port]
    tab = visiting(frontend).page("/")
    name = fresh("elsewhere")
    body = {"username": name, "password": PASSWORD}
    email = {} if dialect.name == "envelope" else {"email": f"{name}@example.com"}
    captcha = {}
    if dialect in (NATIVE, SESSION):
        _, given = tab.evaluate(ASK, [f"{service.first}/captcha", None])
        captcha = {"captchaId": given["captchaId"], "value": SOLUTION}
    status, _ = tab.evaluate(ASK, [base + dialect.sign_up, body | email | captcha])
    assert status == dialect.created
    status, said = tab.evaluate(ASK, [base + dialect.log_in, body])
    assert status == 200
    given = said | said.get("data", {})
    assert [given[name] for name in TOKENS if name in given]
