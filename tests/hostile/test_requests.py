"""Requests of odd form, to the service alone and through nginx, and the exact answer of each.

Most of what the service itself is sent is in tests/dialects: test_malformed.py and test_paths.py.
"""

import gzip
import json
import re
from typing import Any

import pytest

from tests.dialects.pages import PASSWORD, fresh_name
from tests.dialects.stores import Stores
from tests.hostile.places import Place
from tests.hostile.raw import Line, ask
from tests.support.service import Service

JSON = "Content-Type: application/json"
CREDENTIALS = b'{"username":"nobody","password":"wrong-password"}'


def message(
    target: str,
    *headers: str,
    body: bytes = b"",
    method: str = "POST",
    host: str = "localhost",
    version: str = "HTTP/1.1",
) -> bytes:
    """Returns a request after which the connection is closed."""
    lines = [f"{method} {target} {version}", f"Host: {host}", *headers]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + body


def envelope(status: Any, text: str, code: str) -> dict[str, Any]:
    """Returns an answer of the envelope."""
    return {"success": False, "message": text, "statusCode": status, "errorCode": code}


def problem(status: Any, code: str, title: str, detail: str) -> dict[str, Any]:
    """Returns an answer of the native dialect."""
    kind = f"urn:authsvc:problem:{code}"
    return {"type": kind, "title": title, "status": status, "detail": detail, "code": code}


# ---------------------------------------------------------------- what nginx answers by itself

STATUS = object()
"""Stands for the answer's own status."""

NOT_READABLE = "The body is not a JSON object."
# Port and path, and what is said there when a request cannot be read, and to another method.
PLACES: dict[tuple[int, str], tuple[Any, Any]] = {
    (0, "/login"): ({"error": "Invalid request"}, {"error": "Method not allowed"}),
    (1, "/"): ({"error": "Invalid request"}, {"error": "Method not allowed"}),
    (0, "/api/login"): ({"error": "Missing parameters"}, {"error": "Method not allowed"}),
    (0, "http://evil.example/api/login?a=/v1/"): (
        {"error": "Missing parameters"},
        {"error": "Method not allowed"},
    ),
    (1, "/api/auth/login"): ({"message": "请填写所有必需字段"}, {"message": "请求方法不允许"}),
    (1, "/api/login"): (
        envelope(STATUS, "请求参数无效", "INVALID_INPUT"),
        envelope(STATUS, "请求方法不允许", "METHOD_NOT_ALLOWED"),
    ),
    (0, "/v1/login"): (
        problem(STATUS, "malformed_request", "Malformed request", NOT_READABLE),
        problem(
            STATUS,
            "method_not_allowed",
            "Method not allowed",
            "This path does not answer this method.",
        ),
    ),
}
REFUSALS: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "TRACE": (405, 1, ()),
    "CONNECT": (405, 1, ()),
    "POST": (501, 0, ("Transfer-Encoding: xchunked",)),
    "PUT": (400, 0, ("Content-Length: x",)),
    "GET": (400, 0, (f"X-Long: {'x' * 9000}",)),
}


@pytest.mark.parametrize(("port", "target"), PLACES)
@pytest.mark.parametrize("method", REFUSALS)
def test_nginx_refuses_in_the_words_of_the_dialect(
    method: str, port: int, target: str, fronted: Place
) -> None:
    status, which, headers = REFUSALS[method]
    said = PLACES[port, target][which]
    answer = ask((fronted.first, fronted.second)[port], message(target, *headers, method=method))
    said = {name: status if value is STATUS else value for name, value in said.items()}
    assert (answer.status, answer.json()) == (status, said)
    kind = "application/problem+json" if "code" in said else "application/json"
    assert answer.headers["Content-Type"] == kind
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("A" * 21, "/login"),
        ("AB", "/api/login"),
    ],
)
def test_nginx_refuses_a_method_that_gunicorn_would_answer_with_a_page(
    method: str, path: str, fronted: Place
) -> None:
    answer = ask(fronted.first, message(path, method=method))
    assert (answer.status, answer.json()) == (405, {"error": "Method not allowed"})


@pytest.mark.parametrize("version", ["HTTP/3.0", "HTTP/9.9"])
def test_nginx_refuses_another_version_in_words(version: str, fronted: Place) -> None:
    answer = ask(fronted.first, message("/version", method="GET", version=version))
    assert (answer.status, answer.json()) == (505, {"error": "Invalid request"})


@pytest.mark.parametrize("path", ["/.error", "/.problem"])
def test_nginx_shows_nobody_the_places_of_its_own(path: str, fronted: Place) -> None:
    answer = ask(fronted.first, message(path, method="GET"))
    assert (answer.status, answer.json()) == (404, {"error": "Not found"})


# ---------------------------------------------------------------- sizes


@pytest.mark.parametrize(
    ("size", "status"), [(64 * 1024, 401), (64 * 1024 + 1, 413), (128 * 1024, 413)]
)
def test_a_body_of_any_size_has_its_answer(size: int, status: int, place: Place) -> None:
    answer = ask(place.first, message("/login", JSON, body=CREDENTIALS.ljust(size)))
    said = "Request too large" if status == 413 else "Invalid username or password"
    assert (answer.status, answer.json()) == (status, {"error": said})


@pytest.mark.parametrize("announced", [128 * 1024 + 1, 2**30, 2**62])
def test_a_body_that_is_announced_too_large_is_refused_before_it_comes(
    announced: int, place: Place
) -> None:
    with Line(place.first) as line:
        line.send(message("/login", JSON, f"Content-Length: {announced}"))
        [answer] = line.expect(1)
    assert (answer.status, answer.json()) == (413, {"error": "Request too large"})


def test_chunks_without_end_are_refused_at_64_kib(place: Place) -> None:
    with Line(place.first) as line:
        line.send(message("/login", JSON, "Transfer-Encoding: chunked"))
        chunks = 0
        while line.send(b"1000\r\n" + b" " * 4096 + b"\r\n") and not line.received:
            line.listen(0.002)
            chunks += 1
            assert chunks < 500, "two megabytes were taken"
        [answer] = line.expect(1)
    assert (answer.status, answer.json()) == (413, {"error": "Request too large"})


@pytest.mark.parametrize("size", [64 * 1024, 1024 * 1024])
def test_a_header_of_any_size_is_refused(size: int, place: Place) -> None:
    with Line(place.first) as line:
        line.send(message("/login", JSON, f"X-Long: {'x' * size}", body=CREDENTIALS))
        [answer] = line.expect(1)
    assert answer.status == (400 if place.name == "nginx" else 431)


def test_more_than_64_headers_are_refused(place: Place) -> None:
    headers = [f"X-{number}: x" for number in range(100)]
    assert ask(place.first, message("/login", JSON, *headers, body=CREDENTIALS)).status == 431


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"a":' * 20_000, b'{"username":' + b"9" * 100_000 + b"}"],
    ids=["lists", "objects", "digits"],
)
def test_what_is_dear_to_parse_is_too_large_to_be_parsed(body: bytes, place: Place) -> None:
    answer = ask(place.first, message("/login", JSON, body=body))
    assert (answer.status, answer.json()) == (413, {"error": "Request too large"})


def test_bodies_that_are_too_large_cost_nobody_else_an_answer(fronted: Place) -> None:
    large = message("/login", JSON, body=b"x" * 100_000)
    other = message("/version", method="GET")
    statuses = [ask(fronted.first, sent).status for _ in range(40) for sent in (large, other)]
    assert statuses == [413, 200] * 40


# ---------------------------------------------------------------- bodies

BOMB = gzip.compress(b" " * 10_000_000)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, gzip"])
def test_a_compressed_body_is_never_unpacked(coding: str, place: Place) -> None:
    answer = ask(place.first, message("/login", JSON, f"Content-Encoding: {coding}", body=BOMB))
    assert (answer.status, answer.json()) == (400, {"error": "Invalid request"})


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json; charset=utf-7", 401),
        ("application/json; charset=utf-16", 401),
        ("application/problem+json", 401),
        ("text/json", 415),
        ("application/json, text/plain", 415),
        ("multipart/form-data; boundary=x", 415),
    ],
)
def test_a_content_type_is_json_or_refused_and_never_changes_the_encoding(
    content_type: str, status: int, place: Place
) -> None:
    sent = message("/login", f"Content-Type: {content_type}", body=CREDENTIALS)
    said = "Invalid request" if status == 415 else "Invalid username or password"
    answer = ask(place.first, sent)
    assert (answer.status, answer.json()) == (status, {"error": said})


def test_utf_7_is_not_read_as_such(place: Place, stores: Stores) -> None:
    name = fresh_name("seven")
    body = {"username": f"+AGE-{name}", "password": PASSWORD, "email": f"{name}@example.com"}
    kind = "Content-Type: application/json; charset=utf-7"
    answer = ask(place.first, message("/api/register", kind, body=json.dumps(body).encode()))
    assert answer.json()["username"] == f"+AGE-{name}"
    assert stores.has_user(f"+AGE-{name}")


def test_of_a_key_that_is_given_twice_the_last_counts(place: Place) -> None:
    """RFC 8259 leaves it open; what counts for one part of the service counts for all."""
    name = fresh_name("twice")
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    assert ask(place.first, message("/api/register", JSON, body=_json(body))).status == 201
    twice = b'{"username":"nobody",' + _json({"username": name, "password": PASSWORD})[1:]
    assert ask(place.first, message("/login", JSON, body=twice)).status == 200
    twice = _json({"username": name, "password": PASSWORD})[:-1] + b',"username":"nobody"}'
    assert ask(place.first, message("/login", JSON, body=twice)).status == 401


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


# ---------------------------------------------------------------- paths and hosts

PATHS: dict[str, tuple[int, int]] = {
    "/../version": (400, 404),
    "/x/%2e%2e/version": (404, 404),
    "/./version": (404, 404),
    "/version%00": (400, 404),
    "/version%00.png": (400, 404),
    "/%c0%afversion": (404, 404),
    "/..%2fversion": (400, 404),
    "/version;x=1": (404, 404),
    "/version\\": (404, 404),
    "/\\version": (404, 404),
    "/version%20": (404, 404),
    "/version/.": (404, 404),
    "/version%0d%0aX-Injected:%20yes": (404, 404),
    "//version": (200, 200),
    "/%76ersion": (200, 200),
    "/version?/../login": (200, 200),
}


@pytest.mark.parametrize("target", PATHS)
def test_no_spelling_of_a_path_leads_elsewhere(target: str, place: Place) -> None:
    at_nginx, at_gunicorn = PATHS[target]
    answer = ask(place.first, message(target, method="GET"))
    assert answer.status == (at_nginx if place.name == "nginx" else at_gunicorn)
    assert "X-Injected" not in answer.headers
    said = {400: {"error": "Invalid request"}, 404: {"error": "Not found"}}
    if answer.status != 200:
        assert answer.json() == said[answer.status]


HOSTS = ["localhost.", "localhost:3000", "LOCALHOST", "127.0.0.1"]


@pytest.mark.parametrize("host", HOSTS)
def test_the_host_chooses_no_dialect(host: str, place: Place) -> None:
    answer = ask(place.first, message("/api/login", JSON, host=host, body=CREDENTIALS))
    assert (answer.status, answer.json()) == (401, {"error": "Invalid credentials"})


def test_a_path_with_an_encoded_slash_belongs_to_the_dialect_that_serves_it(place: Place) -> None:
    answer = ask(place.first, message("/v1%2flogin", JSON, body=CREDENTIALS))
    assert (answer.status, answer.json()["code"]) == (401, "invalid_credentials")


@pytest.mark.parametrize(
    "header",
    ["X-HTTP-Method-Override: POST", "X-Method-Override: POST", "X-HTTP-Method: POST"],
)
def test_no_header_and_no_parameter_overrides_a_method(header: str, place: Place) -> None:
    answer = ask(place.first, message("/login?_method=POST", header, JSON, method="GET"))
    assert (answer.status, answer.json()) == (405, {"error": "Method not allowed"})
    assert answer.headers["Allow"] == "OPTIONS, POST"


@pytest.mark.parametrize("method", ["FOO", "PROPFIND", "M-SEARCH", "PRI"])
def test_an_unknown_method_is_not_allowed(method: str, place: Place) -> None:
    answer = ask(place.first, message("/login", method=method))
    assert (answer.status, answer.json()) == (405, {"error": "Method not allowed"})


# ---------------------------------------------------------------- injection

REQUEST_IDS = ["x\ty", "x" * 5000, '"}{"a":"', "<script>", "%0d%0aSet-Cookie:%20a=b", "é", ""]


@pytest.mark.parametrize("given", REQUEST_IDS)
def test_no_request_id_of_a_client_comes_back_as_anything_but_a_plain_word(
    given: str, place: Place
) -> None:
    answer = ask(place.first, message("/version", f"X-Request-ID: {given}", method="GET"))
    [back] = answer.headers.get_all("X-Request-ID") or []
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,128}", back)
    assert "Set-Cookie" not in answer.headers


NAMES = [
    "ERROR forged",
    "a\r\nSet-Cookie: a=b",
    "a\x1b[31m",
    "a\u2028b",
    "${jndi:ldap://x}",
    "%s%n",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_writes_no_line_into_the_log_and_no_header(
    name: str, place: Place, service: Service
) -> None:
    before = len(service.log_text())
    body = {"username": name, "password": "wrong-password"}
    answer = ask(place.first, message("/login", JSON, f"User-Agent: {name!r}", body=_json(body)))
    assert (answer.status, answer.json()) == (401, {"error": "Invalid username or password"})
    assert "Set-Cookie" not in answer.headers
    written = service.log_text()[before:]
    assert name not in written
    assert "Set-Cookie" not in written


def test_nothing_that_was_sent_here_was_logged_as_a_crash(service: Service) -> None:
    assert re.findall(r"unexpected|Traceback", service.log_text()) == []
