"""Tricks with paths, methods and headers: none changes the dialect, none is a fault of ours."""

import http.client
import json

import pytest

from tests.dialects import wire
from tests.dialects.pages import (
    OPERATIONS,
    Operation,
    assert_fails_in_own_words,
    client_of,
    port_of,
)
from tests.support.client import Answer
from tests.support.processes import HOST
from tests.support.service import Service

LOCALHOST = "Host: localhost"
EVERY_OPERATION = pytest.mark.parametrize("operation", OPERATIONS, ids=str)
PREFIXES = {"session": "", "token": "/api", "admin": "/api/auth", "envelope": "/api"}

MALFORMED = {
    "session": "Invalid request",
    "token": "Missing parameters",
    "admin": "请填写所有必需字段",
    "admin-createUser": "未授权访问",
    "envelope": "请求参数无效",
}


def words_of(operation: Operation) -> str:
    """Returns what the operation says to an empty object; a token is asked for first."""
    return MALFORMED.get(str(operation), MALFORMED[operation.dialect])


def sentence(answer: Answer) -> str:
    """Returns the sentence of a failure, whichever the dialect."""
    body = answer.json()
    text: str = body.get("message") or body["error"]
    return text


def post_empty_object(service: Service, operation: Operation, target: str, *headers: str) -> Answer:
    """Posts `{}` to a target as written."""
    lines = [*(headers or [LOCALHOST]), wire.JSON]
    request = wire.message("POST", target, lines, b"{}")
    return wire.exchange(port_of(service, operation.port), request)


# ---------------------------------------------------------------- paths

OTHER_PATHS = {
    "a slash at the end": "{prefix}/{name}/",
    "upper case": "{prefix}/{upper}",
    "a slash doubled": "{prefix}//{name}",
    "the parent folder": "/nowhere/..{prefix}/{name}",
    "the parent folder, encoded": "/nowhere/%2e%2e{prefix}/{name}",
    "this folder": "{prefix}/./{name}",
    "this folder, encoded": "{prefix}/%2e/{name}",
    "a parameter": "{prefix}/{name};v=1",
    "an encoded slash at the end": "{prefix}/{name}%2f",
    "a backslash": "{prefix}/{name}\\",
    "an encoded backslash": "{prefix}/{name}%5c",
    "a NUL": "{prefix}/{name}%00",
    "a line break": "{prefix}/{name}%0d%0aX-Injected:%20yes",
    "an encoded space": "{prefix}/{name}%20",
    "an encoded question mark": "{prefix}/{name}%3f",
    "twice encoded": "{prefix}/%25{hex}{rest}",
    "not UTF-8": "{prefix}/{name}%ff",
    "Chinese": "{prefix}/%E7%99%BB%E5%BD%95",
    "full width": "{prefix}/%EF%BD%8C{rest}",
    "something below": "{prefix}/{name}/more",
    "something longer": "{prefix}/{name}more",
    "very long": "{prefix}/" + "x" * 3900,
    "very deep": "{prefix}" + "/x" * 1900,
}


def target_of(pattern: str, operation: Operation) -> str:
    """Writes the operation's path as the pattern says."""
    prefix = PREFIXES[operation.dialect]
    name = operation.path.removeprefix(prefix + "/")
    return pattern.format(
        prefix=prefix,
        name=name,
        upper=name.upper(),
        hex=f"{ord(name[0]):02x}",
        rest=name[1:],
    )


@pytest.mark.parametrize(
    ("operation", "pattern"),
    [
        pytest.param(operation, pattern, id=f"{title}-{operation}")
        for title, pattern in OTHER_PATHS.items()
        for operation in OPERATIONS
        # gunicorn takes slashes at the beginning for one
        if not target_of(pattern, operation).startswith("//")
    ],
)
def test_another_spelling_of_a_path_is_not_found(
    operation: Operation, pattern: str, service: Service
) -> None:
    target = target_of(pattern, operation)
    answer = post_empty_object(service, operation, target)
    assert answer.status == 404
    assert "X-Injected" not in answer.headers
    owner = "session" if target.startswith("/nowhere") else operation.dialect
    assert_fails_in_own_words(owner, answer)


SAME_PATHS = {
    "as it is": "{prefix}/{name}",
    "slashes at the beginning": "//{path}",
    "an encoded letter": "{prefix}/%{hex}{rest}",
    "an encoded slash": "{encoded}",
    "a query": "{prefix}/{name}?next=//evil.example/&_method=GET",
    "an empty query": "{prefix}/{name}?",
    "a fragment": "{prefix}/{name}#/signup",
    "a whole URL": "http://evil.example:3000{prefix}/{name}",
}


@EVERY_OPERATION
@pytest.mark.parametrize("pattern", SAME_PATHS.values(), ids=SAME_PATHS)
def test_the_same_path_in_another_writing_is_found(
    pattern: str, operation: Operation, service: Service
) -> None:
    pattern = pattern.replace("{path}", operation.path[1:])
    pattern = pattern.replace("{encoded}", "/" + operation.path[1:].replace("/", "%2f"))
    answer = post_empty_object(service, operation, target_of(pattern, operation))
    assert sentence(answer) == words_of(operation)


@pytest.mark.parametrize("target", ["/" + "x" * 5000, "*", "login", "", "/\udc80", "http://", "//"])
def test_a_target_that_is_no_path_is_the_clients_error(target: str, service: Service) -> None:
    line = f"POST {target} HTTP/1.1\r\n".encode("utf-8", "surrogateescape")
    rest = f"{LOCALHOST}\r\n{wire.JSON}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}"
    answer = wire.exchange(service.ports[0], line + rest.encode())
    assert 400 <= answer.status < 500


@pytest.mark.parametrize(
    "captcha_id",
    ["%00", "..", "%2e%2e", "%2e%2e%2fx", "*", "%ff", "x" * 3000, "{}", "%7b*%7d", "a b"],
)
def test_a_captcha_id_of_any_form_is_the_documents_500_or_not_found(
    captcha_id: str, service: Service
) -> None:
    request = wire.message("GET", f"/captcha/{captcha_id}".replace(" ", "%20"), [LOCALHOST])
    answer = wire.exchange(service.ports[0], request)
    expected = {500: "Failed to generate captcha image", 404: "Not found"}
    assert sentence(answer) == expected[answer.status]
    assert b"\x00" not in answer.body


# ---------------------------------------------------------------- methods


@EVERY_OPERATION
@pytest.mark.parametrize(
    "method", ["GET", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "PROPFIND", "FOO", "POSTS"]
)
def test_another_method_is_not_allowed(method: str, operation: Operation, service: Service) -> None:
    answer = client_of(service, operation.port).request(method, operation.path)
    assert answer.status == 405
    assert answer.headers["Allow"] == "OPTIONS, POST"
    assert_fails_in_own_words(operation.dialect, answer)


@EVERY_OPERATION
def test_head_is_not_allowed_and_has_no_body(operation: Operation, service: Service) -> None:
    answer = client_of(service, operation.port).request("HEAD", operation.path)
    assert (answer.status, answer.body) == (405, b"")
    assert answer.headers["Allow"] == "OPTIONS, POST"


@EVERY_OPERATION
def test_options_tells_the_methods(operation: Operation, service: Service) -> None:
    answer = client_of(service, operation.port).request("OPTIONS", operation.path)
    assert answer.status in (200, 204)
    assert set(answer.headers["Allow"].split(", ")) == {"OPTIONS", "POST"}
    assert answer.body == b""


def test_head_of_a_captcha_is_its_get_without_body(service: Service) -> None:
    answer = client_of(service, 8080).request("HEAD", "/captcha")
    assert (answer.status, answer.body) == (200, b"")


@EVERY_OPERATION
@pytest.mark.parametrize(
    "header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "_method"]
)
def test_a_header_that_names_another_method_is_passed_over(
    header: str, operation: Operation, service: Service
) -> None:
    client = client_of(service, operation.port)
    got = client.get(operation.path, headers={header: "POST"})
    assert got.status == 405
    posted = post_empty_object(service, operation, operation.path, LOCALHOST, f"{header}: GET")
    assert sentence(posted) == words_of(operation)


@pytest.mark.parametrize("method", ["post", "P OST", "", "P\x00ST"])
def test_a_method_that_is_none_is_the_clients_error(method: str, service: Service) -> None:
    request = wire.message(method, "/login", [LOCALHOST, wire.JSON], b"{}")
    assert 400 <= wire.exchange(service.ports[0], request).status < 500


# ---------------------------------------------------------------- headers

FORGED_HOSTS = [
    "evil.example",
    "localhost:{other}",
    "localhost:99999",
    "localhost:port",
    "localhost:-1",
    "a b",
    "a/b",
    "a,b",
    "@",
    "[::1",
    "[::1]:{other}",
    "[evil",
    "é",
    "<script>",
    "a" * 4000,
    "",
]


@EVERY_OPERATION
@pytest.mark.parametrize("host", FORGED_HOSTS)
def test_a_forged_host_changes_nothing(host: str, operation: Operation, service: Service) -> None:
    other = service.ports[operation.port == 8080]
    forged = f"Host: {host.format(other=other)}"
    answer = post_empty_object(service, operation, operation.path, forged)
    assert sentence(answer) == words_of(operation)
    assert_fails_in_own_words(operation.dialect, answer)
    assert "Location" not in answer.headers


@EVERY_OPERATION
def test_no_host_at_all_changes_nothing(operation: Operation, service: Service) -> None:
    answer = post_empty_object(service, operation, operation.path, "Accept: */*")
    assert sentence(answer) == words_of(operation)


@EVERY_OPERATION
@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-Host: evil.example:{other}",
        "X-Forwarded-Port: {other}",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Prefix: /api",
        "Forwarded: host=evil.example:{other};proto=https",
        "X-Original-URL: /signup",
        "X-Rewrite-URL: /signup",
        "SCRIPT_NAME: /api",
        "Script-Name: /api",
        "PATH_INFO: /signup",
        "SERVER_PORT: {other}",
        "Server-Port: {other}",
    ],
)
def test_a_forged_proxy_header_changes_nothing(
    header: str, operation: Operation, service: Service
) -> None:
    header = header.format(other=service.ports[operation.port == 8080])
    answer = post_empty_object(service, operation, operation.path, LOCALHOST, header)
    assert sentence(answer) == words_of(operation)


@EVERY_OPERATION
def test_a_body_that_was_not_read_is_not_taken_for_the_next_request(
    operation: Operation, service: Service
) -> None:
    smuggled = wire.message("GET", "/captcha", [LOCALHOST])
    port = port_of(service, operation.port)
    connection = http.client.HTTPConnection(HOST, port, timeout=15)
    connection.request("PUT", operation.path, body=smuggled)
    refused = connection.getresponse()
    assert (refused.status, refused.read() != b"") == (405, True)
    connection.request("POST", operation.path, "{}", {"Content-Type": "application/json"})
    body = json.loads(connection.getresponse().read())
    connection.close()
    assert words_of(operation) in (body.get("message"), body.get("error"))
