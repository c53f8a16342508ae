"""Captchas over HTTP: issued, shown, and redeemed once."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from authsvc.core.captchas import ALPHABET, LENGTHS
from tests.dialects import wire
from tests.dialects.pages import (
    PASSWORD,
    SESSION_SIGNUP,
    client_of,
    fresh_name,
    new_captcha,
    send,
)
from tests.dialects.stores import TEST_VALUE, Stores
from tests.support.client import Answer, Client
from tests.support.service import Service

RIGHT: Any = object()

REJECTED = (400, {"error": "Invalid captcha"})
MALFORMED = (400, {"error": "Invalid request"})
NO_IMAGE = (500, {"error": "Failed to generate captcha image"})


class Visitor:
    """Somebody in front of the sign-up form.

    Args:
        service: which shows it.
        stores: tell the answers.
    """

    def __init__(self, service: Service, stores: Stores) -> None:
        self.service = service
        self.stores = stores
        self.client: Client = client_of(service, 8080)

    def take(self) -> str:
        """Gets a captcha and returns its id."""
        return new_captcha(self.service)

    def sign_up(self, captcha_id: Any, value: Any = RIGHT, **changes: Any) -> Answer:
        """Signs up as somebody new, with the right answer if no other is given."""
        if value is RIGHT:
            value = self.stores.answer_of(captcha_id)
        name = fresh_name("visitor")
        body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
        body |= {"captchaId": captcha_id, "value": value} | changes
        return send(self.service, SESSION_SIGNUP, body)

    def image(self, captcha_id: str) -> Answer:
        """Gets the image."""
        return self.client.get(f"/captcha/{captcha_id}")


@pytest.fixture
def visitor(service: Service, stores: Stores) -> Visitor:
    return Visitor(service, stores)


def outcome(answer: Answer) -> tuple[int, Any]:
    """Returns the status and the body."""
    return answer.status, answer.json()


# ---------------------------------------------------------------- the id and the answer


def test_an_id_is_unguessable_and_tells_nothing_of_the_answer(visitor: Visitor) -> None:
    ids = {visitor.take() for _ in range(50)}
    assert len(ids) == 50
    assert {len(captcha_id) for captcha_id in ids} == {22}
    answers = {visitor.stores.answer_of(captcha_id) for captcha_id in ids}
    assert len(answers) == 50
    assert {len(answer) for answer in answers} <= set(LENGTHS)
    assert set("".join(answers)) <= set(ALPHABET)


def test_the_answer_is_in_no_answer_of_ours(visitor: Visitor) -> None:
    made = visitor.client.get("/captcha")
    answer = visitor.stores.answer_of(made.json()["captchaId"]).encode()
    image = visitor.image(made.json()["captchaId"])
    for response in (made, image):
        assert answer not in response.body
        assert answer not in str(response.headers).encode()


# ---------------------------------------------------------------- redeeming


def test_the_right_answer_signs_up_once(visitor: Visitor) -> None:
    captcha_id = visitor.take()
    answer = visitor.stores.answer_of(captcha_id)
    assert visitor.sign_up(captcha_id, answer).status == 200
    assert outcome(visitor.sign_up(captcha_id, answer)) == REJECTED


@pytest.mark.parametrize("change", [str.lower, str.title, lambda a: f" {a}\n", str.swapcase])
def test_the_answer_may_be_in_any_case_with_space_around_it(change: Any, visitor: Visitor) -> None:
    captcha_id = visitor.take()
    answer = change(visitor.stores.answer_of(captcha_id))
    assert visitor.sign_up(captcha_id, answer).status == 200


WRONG = {
    "a word": "wrong",
    "a space": " ",
    "white space": "\t\n\u3000 ",
    "a NUL": "\0",
    "a lone surrogate": "\ud800",
    "Chinese": "验证码",
    "4,096 bytes": "x" * 4096,
    "4,096 bytes of two-byte letters": "é" * 2048,
}


@pytest.mark.parametrize("value", WRONG.values(), ids=WRONG)
def test_a_wrong_answer_burns_the_captcha(value: str, visitor: Visitor) -> None:
    captcha_id = visitor.take()
    right = visitor.stores.answer_of(captcha_id)
    body = b'{"username":"%s","password":"password","email":"a@example.com","captchaId":"%s",'
    name = fresh_name().encode()
    raw = body % (name, captcha_id.encode()) + b'"value":"%s"}' % escaped(value)
    headers = {"Content-Type": "application/json"}
    answer = visitor.client.request("POST", "/signup", body=raw, headers=headers)
    assert outcome(answer) == REJECTED
    assert outcome(visitor.sign_up(captcha_id, right)) == REJECTED


def escaped(text: str) -> bytes:
    """Returns a JSON string's inside, whatever the text."""
    return b"".join(b"\\u%04x" % ord(character) for character in text)


@pytest.mark.parametrize("part", [slice(0, -1), slice(1, None)])
def test_a_part_of_the_answer_is_wrong(part: slice, visitor: Visitor) -> None:
    captcha_id = visitor.take()
    value = visitor.stores.answer_of(captcha_id)[part]
    assert outcome(visitor.sign_up(captcha_id, value)) == REJECTED


NO_TRY: dict[str, Any] = {
    "empty": "",
    "null": None,
    "a number": 12345,
    "a boolean": True,
    "a list": ["A"],
    "an object": {},
    "4,097 bytes": "x" * 4097,
    "4,098 bytes of Chinese": "验" * 1366,
    "60 KB": "x" * 60_000,
}


@pytest.mark.parametrize("value", NO_TRY.values(), ids=NO_TRY)
def test_an_answer_that_is_none_burns_nothing(value: Any, visitor: Visitor) -> None:
    captcha_id = visitor.take()
    assert outcome(visitor.sign_up(captcha_id, value)) == MALFORMED
    assert visitor.sign_up(captcha_id).status == 200


def test_a_missing_answer_burns_nothing(visitor: Visitor) -> None:
    captcha_id = visitor.take()
    name = fresh_name()
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    answer = send(visitor.service, SESSION_SIGNUP, body | {"captchaId": captcha_id})
    assert outcome(answer) == MALFORMED
    assert visitor.sign_up(captcha_id).status == 200


BODY_FAULTS: dict[str, dict[str, Any]] = {
    "a short password": {"password": "short"},
    "a password over 1,024 bytes": {"password": "x" * 1025},
    "an empty name": {"username": ""},
    "a blank name": {"username": "  "},
    "a long name": {"username": "x" * 65},
    "a name with a control character": {"username": "a\x07b"},
    "a name that is a number": {"username": 12345678},
    "a malformed e-mail address": {"email": "nobody"},
    "no e-mail address": {"email": None},
}


@pytest.mark.parametrize("fault", BODY_FAULTS.values(), ids=BODY_FAULTS)
@pytest.mark.parametrize("value", [RIGHT, "wrong"], ids=["right answer", "wrong answer"])
def test_a_fault_of_the_body_is_told_before_the_captcha_is_redeemed(
    value: Any, fault: dict[str, Any], visitor: Visitor
) -> None:
    captcha_id = visitor.take()
    assert outcome(visitor.sign_up(captcha_id, value, **fault)) == MALFORMED
    assert visitor.sign_up(captcha_id).status == 200


def test_a_body_that_is_too_large_burns_nothing(visitor: Visitor) -> None:
    captcha_id = visitor.take()
    assert visitor.sign_up(captcha_id, more="x" * 65_536).status == 413
    assert visitor.sign_up(captcha_id).status == 200


def test_a_wrong_answer_is_told_before_a_name_is_looked_up(visitor: Visitor) -> None:
    name = fresh_name()
    taken = {"username": name, "email": f"{name}@example.com"}
    assert visitor.sign_up(visitor.take(), **taken).status == 200
    assert outcome(visitor.sign_up(visitor.take(), "wrong", **taken)) == REJECTED


@pytest.mark.parametrize("only", ["username", "email"])
def test_a_name_or_address_that_is_taken_burns_the_captcha(only: str, visitor: Visitor) -> None:
    name = fresh_name()
    taken = {"username": name, "email": f"{name}@example.com"}
    assert visitor.sign_up(visitor.take(), **taken).status == 200
    captcha_id = visitor.take()
    right = visitor.stores.answer_of(captcha_id)
    assert visitor.sign_up(captcha_id, right, **{only: taken[only]}).status == 409
    assert outcome(visitor.sign_up(captcha_id, right)) == REJECTED


@pytest.mark.parametrize(
    "captcha_id",
    [
        "abc123",
        "A" * 22,
        "A" * 21,
        "A" * 23,
        "*",
        "../x",
        "A" * 21 + "\n",
        "{}",
        "验" * 22,
        "x" * 50_000,
    ],
    ids=range(10),
)
def test_an_id_that_nobody_issued_is_rejected_whatever_the_answer(
    captcha_id: str, visitor: Visitor
) -> None:
    assert outcome(visitor.sign_up(captcha_id, "wrong")) == REJECTED
    assert outcome(visitor.sign_up(captcha_id, TEST_VALUE)) == REJECTED


def test_another_captchas_answer_is_wrong(visitor: Visitor) -> None:
    first, second = visitor.take(), visitor.take()
    assert outcome(visitor.sign_up(first, visitor.stores.answer_of(second))) == REJECTED
    assert visitor.sign_up(second).status == 200


def test_the_test_value_is_accepted_for_a_live_captcha_and_burns_it(visitor: Visitor) -> None:
    captcha_id = visitor.take()
    assert visitor.sign_up(captcha_id, TEST_VALUE).status == 200
    assert outcome(visitor.sign_up(captcha_id, TEST_VALUE)) == REJECTED


def test_of_a_hundred_simultaneous_redeems_exactly_one_wins(visitor: Visitor) -> None:
    captcha_id = visitor.take()
    right = visitor.stores.answer_of(captcha_id)
    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(lambda _: visitor.sign_up(captcha_id, right), range(100)))
    outcomes = [outcome(answer) for answer in answers]
    assert outcomes.count(REJECTED) == 99
    assert [status for status, _ in outcomes].count(200) == 1


# ---------------------------------------------------------------- the image


def test_the_image_is_a_png_of_the_same_bytes_every_time(visitor: Visitor) -> None:
    captcha_id = visitor.take()
    images = [visitor.image(captcha_id) for _ in range(6)]
    assert {image.status for image in images} == {200}
    assert {image.headers["Content-Type"] for image in images} == {"image/png"}
    assert len({image.body for image in images}) == 1
    with Image.open(BytesIO(images[0].body)) as picture:
        assert (picture.format, picture.size) == ("PNG", (300, 110))


def test_simultaneous_first_looks_show_the_same_bytes(visitor: Visitor) -> None:
    captcha_id = visitor.take()
    with ThreadPoolExecutor(16) as pool:
        images = list(pool.map(visitor.image, [captcha_id] * 16))
    assert {image.status for image in images} == {200}
    assert len({image.body for image in images}) == 1


def test_two_captchas_have_two_images(visitor: Visitor) -> None:
    assert visitor.image(visitor.take()).body != visitor.image(visitor.take()).body


def test_looking_burns_nothing(visitor: Visitor) -> None:
    captcha_id = visitor.take()
    visitor.image(captcha_id)
    visitor.image(captcha_id)
    assert visitor.sign_up(captcha_id).status == 200


@pytest.mark.parametrize("looked_before", [False, True])
@pytest.mark.parametrize("value", [RIGHT, "wrong"], ids=["right answer", "wrong answer"])
def test_the_image_is_gone_once_the_captcha_is_redeemed(
    value: Any, looked_before: bool, visitor: Visitor
) -> None:
    captcha_id = visitor.take()
    if looked_before:
        assert visitor.image(captcha_id).status == 200
    visitor.sign_up(captcha_id, value)
    assert outcome(visitor.image(captcha_id)) == NO_IMAGE
    assert list(visitor.stores.client.scan_iter(f"*{captcha_id}*")) == []


@pytest.mark.parametrize(
    "captcha_id",
    [
        "abc123",
        "A" * 22,
        "A" * 21,
        "*",
        "%2A",
        "%00",
        "AAAAAAAAAAAAAAAAAAAAA%0a",
        "%e9",
        "x" * 3000,
    ],
    ids=range(9),
)
def test_an_id_that_nobody_issued_has_no_image(captcha_id: str, visitor: Visitor) -> None:
    request = wire.message("GET", f"/captcha/{captcha_id}", ["Host: localhost"])
    answer = wire.exchange(visitor.service.ports[0], request)
    assert outcome(answer) == NO_IMAGE
    assert answer.headers["Cache-Control"] == "no-store"


def test_nothing_of_a_captcha_is_to_be_stored(visitor: Visitor) -> None:
    captcha_id = visitor.take()
    answers = [
        visitor.client.get("/captcha"),
        visitor.image(captcha_id),
        visitor.sign_up(captcha_id),
    ]
    assert {answer.headers["Cache-Control"] for answer in answers} == {"no-store"}


def test_a_missing_image_is_the_clients_error_in_the_log(visitor: Visitor) -> None:
    before = len(visitor.service.log_text())
    visitor.image("abc123")
    logged = visitor.service.log_text()[before:]
    assert "GET /captcha/abc123" in logged
    assert "ERROR" not in logged
    assert "Traceback" not in logged


# ---------------------------------------------------------------- time


@pytest.fixture(scope="module")
def hasty(stores: Stores) -> Iterator[Service]:
    """A service whose captchas live for a second."""
    with stores.service("hasty", {"AUTHSVC_CAPTCHA_LIFETIME": "1"}) as service:
        yield service


def test_a_captcha_expires_with_its_image(hasty: Service, stores: Stores) -> None:
    visitor = Visitor(hasty, stores)
    seen, unseen = visitor.take(), visitor.take()
    assert visitor.image(seen).status == 200
    answers = {captcha_id: stores.answer_of(captcha_id) for captcha_id in (seen, unseen)}
    time.sleep(1.1)
    for captcha_id, answer in answers.items():
        assert outcome(visitor.image(captcha_id)) == NO_IMAGE
        assert outcome(visitor.sign_up(captcha_id, answer)) == REJECTED
        assert outcome(visitor.sign_up(captcha_id, TEST_VALUE)) == REJECTED


def test_a_captcha_lives_five_minutes_unless_set_otherwise(visitor: Visitor) -> None:
    captcha_id = visitor.take()
    visitor.image(captcha_id)
    keys = list(visitor.stores.client.scan_iter(f"*{captcha_id}*"))
    assert len(keys) == 2
    for key in keys:
        assert 290 <= int(visitor.stores.client.ttl(key)) <= 300  # type: ignore[arg-type]


# ---------------------------------------------------------------- trouble


def test_a_captcha_outlives_a_restart_of_redis(visitor: Visitor, stores: Stores) -> None:
    captcha_id = visitor.take()
    with stores.redis_down():
        assert outcome(visitor.sign_up(captcha_id, "wrong")) == (
            500,
            {"error": "Failed to create session"},
        )
    assert visitor.sign_up(captcha_id).status == 200


# ---------------------------------------------------------------- the older edition


def test_without_captcha_nothing_is_redeemed(
    older_edition: Service, visitor: Visitor, stores: Stores
) -> None:
    captcha_id = visitor.take()
    assert Visitor(older_edition, stores).sign_up(captcha_id, "wrong").status == 200
    assert stores.is_live(captcha_id)


@pytest.mark.parametrize("value", [None, 1, "", [], "x" * 4097], ids=range(5))
def test_without_captcha_its_fields_may_hold_anything(
    value: Any, older_edition: Service, stores: Stores
) -> None:
    answer = Visitor(older_edition, stores).sign_up(value, value)
    assert answer.status == 200
