"""Clients that send a byte now and then hold up nobody else, and are cut off."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.hostile.places import Place
from tests.hostile.raw import Line
from tests.support.client import Client
from tests.support.nginx import CONFIG, Nginx
from tests.support.service import Service

CROWD = 150
HEADERS = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
BEGINNINGS = {
    "a request line": b"POST /log",
    "headers": HEADERS,
    "a body": HEADERS + b"Content-Length: 1000\r\n\r\n{",
    "chunks": HEADERS + b"Transfer-Encoding: chunked\r\n\r\n400\r\n{",
}


@pytest.fixture(scope="module")
def impatient(
    nginx_binary: str, tmp_path_factory: pytest.TempPathFactory, service: Service
) -> Iterator[Nginx]:
    """The repository's nginx, which waits 2 s for what it waits 10 s for by default."""
    config = CONFIG.read_text(encoding="utf-8")
    for what in ("client_header_timeout", "client_body_timeout"):
        assert f"{what} 10s;" in config
        config = config.replace(f"{what} 10s;", f"{what} 2s;")
    with Nginx(tmp_path_factory.mktemp("impatient"), service.ports, config) as nginx:
        yield nginx


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_crowd_of_slow_clients_holds_up_nobody(beginning: bytes, fronted: Place) -> None:
    with ExitStack() as held:
        lines = [held.enter_context(Line(fronted.first)) for _ in range(CROWD)]
        for line in lines:
            assert line.send(beginning)
        for _ in range(3):
            for line in lines:
                line.send(b"x")
            client = Client(f"http://127.0.0.1:{fronted.first}", timeout=3)
            assert client.get("/version").status == 200
            assert client.post("/login", {"username": "nobody", "password": "x"}).status == 401


@pytest.mark.parametrize("beginning", BEGINNINGS.values(), ids=BEGINNINGS)
def test_a_client_that_falls_silent_is_cut_off(beginning: bytes, impatient: Nginx) -> None:
    with Line(impatient.ports[0]) as line:
        line.send(beginning)
        assert line.listen(quiet=8), "the connection is still open"
        assert line.answers() == []


def test_a_client_that_sends_a_byte_a_second_never_finishes_its_headers(impatient: Nginx) -> None:
    with Line(impatient.ports[0]) as line:
        sent, began = HEADERS + b"X-Slow: ", time.monotonic()
        while line.send(sent) and not line.listen(quiet=0.5):
            sent = b"x"
            assert time.monotonic() - began < 10, "the headers are still read"
    assert line.answers() == []


def test_a_few_slow_clients_leave_room_for_others_without_nginx(bare: Place) -> None:
    with ExitStack() as held:
        for beginning in BEGINNINGS.values():
            held.enter_context(Line(bare.first)).send(beginning)
        client = Client(f"http://127.0.0.1:{bare.first}", timeout=3)
        assert [client.get("/version").status for _ in range(5)] == [200] * 5
