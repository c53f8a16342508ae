"""Requests that two servers might frame differently: one is served for one sent, or none at all.

Each is followed by a sign-up and the beginning of a third request. Whoever framed the first
otherwise than the server before it would serve the sign-up, or put the beginning before the
request of somebody else.
"""

import json

import pytest

from tests.dialects.pages import PASSWORD, fresh_name
from tests.dialects.stores import Stores
from tests.hostile.places import Place
from tests.hostile.raw import Line

BODY = b'{"username":"nobody","password":"wrong-password"}'
LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)
TE = "Transfer-Encoding: chunked"
JSON = "Content-Type: application/json"
VERSION = b"GET /version HTTP/1.1\r\nHost: localhost\r\n\r\n"

WRONG = {"error": "Invalid username or password"}
MALFORMED = {"error": "Invalid request"}


def request(
    *headers: str | bytes,
    body: bytes = BODY,
    line: str = "POST /login HTTP/1.1",
    end: bytes = b"\r\n",
) -> bytes:
    """Returns a request with the headers as they are written here."""
    written = [header if isinstance(header, bytes) else header.encode() for header in headers]
    return end.join([line.encode(), b"Host: localhost", JSON.encode(), *written, b"", body])


def sign_up(name: str) -> bytes:
    """Returns what must not be served."""
    fields = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    body = json.dumps(fields).encode()
    head = f"POST /api/register HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


BEGINNING = b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\nX-Swallow: "

# The request, and the status that nginx and gunicorn refuse it with.
REFUSED: dict[str, tuple[bytes, int, int]] = {
    "CL.TE": (request(f"Content-Length: {len(CHUNKED) + 400}", TE, body=CHUNKED), 400, 400),
    "TE.CL": (request(TE, "Content-Length: 4", body=CHUNKED), 400, 400),
    "TE and the right CL": (request(TE, f"Content-Length: {len(CHUNKED)}", body=CHUNKED), 400, 400),
    "an unknown coding": (request("Transfer-Encoding: xchunked", body=CHUNKED), 501, 501),
    "an unknown coding and CL": (request("Transfer-Encoding: xchunked", LENGTH), 501, 501),
    "chunked, then identity": (
        request(TE, "Transfer-Encoding: identity", body=CHUNKED),
        400,
        400,
    ),
    "chunked, identity": (request("Transfer-Encoding: chunked, identity", body=CHUNKED), 501, 400),
    "chunked twice": (request(TE, TE, body=CHUNKED), 400, 400),
    "chunked, chunked": (request("Transfer-Encoding: chunked, chunked", body=CHUNKED), 501, 400),
    "identity and CL": (request("Transfer-Encoding: identity", LENGTH), 501, 400),
    "TE with a space before its colon": (request("Transfer-Encoding : chunked", LENGTH), 400, 400),
    "TE with a vertical tab": (request(b"Transfer-Encoding:\x0bchunked", LENGTH), 501, 400),
    "TE in quotes": (request('Transfer-Encoding: "chunked"', body=CHUNKED), 501, 501),
    "TE that is empty": (request("Transfer-Encoding:", LENGTH), 501, 501),
    "TE folded": (request("Transfer-Encoding:\r\n chunked", LENGTH), 400, 400),
    "TE hidden behind a bare LF": (request("X: a\nTransfer-Encoding: chunked", LENGTH), 400, 400),
    "TE hidden behind a bare CR": (request("X: a\rTransfer-Encoding: chunked", LENGTH), 400, 400),
    "TE under HTTP/1.0": (request(TE, body=CHUNKED, line="POST /login HTTP/1.0"), 400, 400),
    "two CL": (request("Content-Length: 0", LENGTH), 400, 400),
    "two CL alike": (request(LENGTH, LENGTH), 400, 400),
    "CL as a list": (request(f"{LENGTH}, {len(BODY)}"), 400, 400),
    "CL with a sign": (request(f"Content-Length: +{len(BODY)}"), 400, 400),
    "CL below zero": (request("Content-Length: -1"), 400, 400),
    "CL in hexadecimal": (request(f"Content-Length: {len(BODY):#x}"), 400, 400),
    "CL with a space in it": (request("Content-Length: 4 9"), 400, 400),
    "CL with an underscore in it": (request("Content-Length: 4_9"), 400, 400),
    "CL of no ASCII digits": (request("Content-Length: ４９"), 400, 400),
    "CL that is empty": (request("Content-Length:"), 400, 400),
    "CL with a space before its colon": (request(LENGTH.replace(":", " :")), 400, 400),
    "a fold": (request("X: a\r\n b", LENGTH), 400, 400),
    "a header that begins with a space": (request(" X: a", LENGTH), 400, 400),
    "a NUL in a header": (request(b"X: a\0b", LENGTH), 400, 400),
    "two Hosts": (request("Host: evil.example", LENGTH), 400, 400),
    "a chunk in hexadecimal notation": (
        request(TE, body=b"0x%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
        400,
        400,
    ),
    "a chunk with a sign": (
        request(TE, body=b"+%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
        400,
        400,
    ),
    "a chunk with a space before it": (
        request(TE, body=b" %x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
        400,
        400,
    ),
    "a chunk's extension over two lines": (
        request(TE, body=b"%x;a=\nb\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
        400,
        400,
    ),
    "a chunk without its end": (
        request(TE, body=b"%x\r\n%b0\r\n\r\n" % (len(BODY), BODY)),
        400,
        400,
    ),
}

# What is odd, and yet framed alike by all: it is served, once.
SERVED: dict[str, bytes] = {
    "chunks": request(TE, body=CHUNKED),
    "chunks in capitals": request("TRANSFER-ENCODING: CHUNKED", body=CHUNKED),
    "chunks with an extension": request(TE, body=b"%x;a=b\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)),
    "a length with zeros before it": request(f"Content-Length: 000{len(BODY)}"),
    "a length with space around it": request(f"Content-Length:  {len(BODY)}  "),
    "headers with underscores": request("Transfer_Encoding: chunked", "Content_Length: 4", LENGTH),
    "an upgrade to HTTP/2": request(
        "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk", LENGTH
    ),
    "an upgrade to a web socket": request("Connection: Upgrade", "Upgrade: websocket", LENGTH),
    "an expectation": request("Expect: 100-continue", LENGTH),
    "a range": request("Range: bytes=0-0," + "1-1," * 500 + "2-2", LENGTH),
    "hop-by-hop headers named": request("Connection: Content-Length, Host", LENGTH),
    "another host in the target": request(LENGTH, line="POST http://evil.example:1/login HTTP/1.1"),
}


def assert_others_get_their_own(place: Place) -> None:
    """Checks what somebody else gets, often enough to meet every connection behind nginx."""
    for _ in range(2):
        with Line(place.first) as line:
            line.send(VERSION + request(LENGTH) + VERSION)
            version, refusal, again = line.expect(3, ["GET", "POST", "GET"])
        assert version.json()["name"] == again.json()["name"] == "authsvc"
        assert (refusal.status, refusal.json()) == (401, WRONG)


@pytest.mark.parametrize("shape", REFUSED)
def test_what_can_be_framed_in_two_ways_is_refused_and_nothing_behind_it_is_served(
    shape: str, place: Place, stores: Stores
) -> None:
    sent, at_nginx, at_gunicorn = REFUSED[shape]
    name = fresh_name("smuggled")
    with Line(place.first) as line:
        line.send(sent + sign_up(name) + BEGINNING)
        assert line.listen(8), "the connection is still open"
        [answer] = line.answers()
    assert answer.status == (at_nginx if place.name == "nginx" else at_gunicorn)
    if place.name == "nginx":
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.json() == MALFORMED
    assert not stores.has_user(name)
    assert_others_get_their_own(place)


@pytest.mark.parametrize("shape", SERVED)
def test_what_all_frame_alike_is_served_once(shape: str, place: Place) -> None:
    with Line(place.first) as line:
        line.send(SERVED[shape])
        [answer] = line.expect(1)
        assert (answer.status, answer.json()) == (401, WRONG)
        line.send(VERSION)
        _, version = line.expect(2, ["POST", "GET"])
    assert version.json()["name"] == "authsvc"
    assert_others_get_their_own(place)


@pytest.mark.parametrize(
    "sent",
    [
        request("X", LENGTH),
        request(LENGTH, end=b"\n"),
        request(TE, body=b"%x\n%b\n0\n\n" % (len(BODY), BODY)),
        request(TE, body=CHUNKED[:-2] + b"Content-Length: 9\r\nHost: evil.example\r\n\r\n"),
    ],
    ids=["a header without a colon", "lines", "chunks", "trailers"],
)
def test_what_nginx_reads_more_freely_it_writes_anew(
    sent: bytes, bare: Place, fronted: Place, stores: Stores
) -> None:
    name = fresh_name("second")
    with Line(fronted.first) as line:
        line.send(sent + sign_up(name))
        first, second = line.expect(2)
    assert (first.status, first.json(), second.status) == (401, WRONG, 201)
    assert stores.has_user(name)
    assert_others_get_their_own(fronted)
    name = fresh_name("smuggled")
    with Line(bare.first) as line:
        line.send(sent + sign_up(name) + BEGINNING)
        assert line.listen(8)
        [answer] = line.answers()
    assert answer.status == 400
    assert not stores.has_user(name)


def test_a_body_that_a_get_should_not_have_is_not_served(place: Place, stores: Stores) -> None:
    name = fresh_name("smuggled")
    inner = sign_up(name)
    with Line(place.first) as line:
        line.send(
            request(f"Content-Length: {len(inner)}", body=inner, line="GET /version HTTP/1.1")
        )
        line.send(VERSION)
        statuses = [answer.status for answer in line.expect(2, ["GET", "GET"])]
    assert statuses == [200, 200]
    assert not stores.has_user(name)


def test_after_a_connect_nothing_on_the_connection_is_served(place: Place, stores: Stores) -> None:
    name = fresh_name("smuggled")
    with Line(place.first) as line:
        line.send(b"CONNECT /login HTTP/1.1\r\nHost: localhost\r\n\r\n" + sign_up(name))
        assert line.listen(8)
        [answer] = line.answers()
    assert (answer.status, answer.json()) == (405, {"error": "Method not allowed"})
    assert not stores.has_user(name)


def test_a_body_that_is_announced_and_not_sent_swallows_nobody_elses_request(
    place: Place, stores: Stores
) -> None:
    name = fresh_name("swallowed")
    with Line(place.first) as line:
        line.send(request("Content-Length: 5000"))
        assert_others_get_their_own(place)
        line.send(sign_up(name))
        assert not line.listen()
        assert line.answers() == []
    assert not stores.has_user(name)
