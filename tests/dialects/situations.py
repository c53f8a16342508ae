"""Golden answers as data: one file for each situation, compared whole, keys in their order.

A file says which `situation` it is, and whether it is `documented` or left open by the document;
what is `given` before the request (users, a captcha, a token, and what has gone wrong), and with
which further settings of the service; the
`request`, the `answer`, and which users there are `after` it, or are `absent`. In what is sent,
{captcha}, {answer} and {token} stand for the given ones, as does what the requests given as
`before` have brought, {code} for a one-time code of a {secret} among it, and {mailed} for the token
of the `mail` that a given address got; in what is expected,
"<…>" stands for a form (see FORMS).
"""

import itertools
import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from email import message_from_bytes, policy
from io import BytesIO
from pathlib import Path
from typing import Any

import pyotp
import pytest
from flask import Flask
from PIL import Image

from tests.dialects.pages import port_of
from tests.dialects.stores import Stores
from tests.support.client import Answer, Client, encode
from tests.support.processes import HOST, wait_until
from tests.support.service import Service

GOLDEN = Path(__file__).with_name("golden")
FILES = sorted(GOLDEN.glob("*/*.json"))
OLDER_EDITION = "session-without-captcha"
MOUNTS = {"ruoyi": "ruoyi=/, token=/api, native=/v1"}
"""The table of the mounts where a document's own paths are not in the default one."""

MOST_TRIES = 100

FORMS = {
    "<jwt>": r"eyJ[\w-]+\.[\w-]+\.[\w-]+",
    "<digits>": r"[1-9][0-9]*",
    "<captcha id>": r"[\w-]{22}",
    "<refresh token>": r"[1-9]\d*\.[\w-]{22}\.\d+\.[\w-]+",
    "<session id>": r"[\w-]{22}",
    "<time>": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "<address>": r"127\.[\d.]+",
    "<request id>": r"[0-9a-f]{16}",
    "<cursor>": r"[\w-]+",
    "<secret>": r"[A-Z2-7]{32}",
    "<uri>": r"otpauth://totp/.+",
    "<recovery code>": r"[0-9a-z]{5}-[0-9a-z]{5}",
    "<png in base64>": r"iVBORw0KGgo[A-Za-z0-9+/]+={0,2}",
    "<puzzle id>": r"pow\.[\w-]{22}",
    "<digest>": r"[0-9a-f]{64}",
    "<salt>": r"[0-9a-f]{24}\?expires=\d+&id=pow\.[\w-]{22}&purpose=signup&",
}
PNG, WAV = "<png>", "<wav>"
SENT_WITHIN = 30.0

_addresses = itertools.count(1)


def fresh_address() -> str:
    """Returns an address of this machine that no limit has counted yet."""
    number = next(_addresses)
    return f"127.9.{number // 250}.{number % 250 + 1}"


@dataclass
class Situation:
    """A golden file.

    Args:
        dialect: the folder, which is the document's name.
        given, request, answer, after: see the module.
        values: what {captcha}, {answer}, {token} and what was kept before stand for.
    """

    dialect: str
    given: dict[str, Any]
    request: dict[str, Any]
    answer: dict[str, Any]
    after: dict[str, list[str]]
    values: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, file: Path) -> "Situation":
        content = json.loads(file.read_text(encoding="utf-8"))
        return cls(
            dialect=file.parent.name,
            given=content.get("given", {}),
            request=content["request"],
            answer=content["answer"],
            after=content.get("after", {}),
        )

    @property
    def trouble(self) -> str | None:
        """What has gone wrong, if anything."""
        return self.given.get("trouble")

    @property
    def settings(self) -> dict[str, str]:
        """What is set, beside what always is."""
        mounts = {"AUTHSVC_MOUNTS": MOUNTS[self.dialect]} if self.dialect in MOUNTS else {}
        further: dict[str, str] = self.given.get("settings", {})
        return mounts | further

    def filled_in(self, value: Any) -> Any:
        """Returns what is to be sent, with the given captcha, answer and token in it."""
        if isinstance(value, str):
            return re.sub(r"\{(\w+)\}", lambda match: self.values[match[1]], value)
        if isinstance(value, dict):
            return {key: self.filled_in(item) for key, item in value.items()}
        return value

    def body(self) -> bytes | None:
        """Returns the body as bytes."""
        if "body" in self.request:
            return encode(self.filled_in(self.request["body"]))
        raw = self.request.get("raw")
        if isinstance(raw, dict):
            raw = raw["repeat"] * raw["times"]
        return None if raw is None else str(self.filled_in(raw)).encode()

    def send(self, service: Service) -> Answer:
        """Sends the request; with no limit left, from an address that has used it up.

        With no free guess left, it is sent until the answer says how long to wait.
        """
        port = port_of(service, self.request["port"])
        client = Client(f"http://{HOST}:{port}", source=fresh_address())
        method, path = self.request["method"], self.filled_in(self.request["path"])
        if self.trouble == "limit used up":
            assert client.request(method, path).status != 429
        headers = self.filled_in(self.request.get("headers", {}))
        tries = MOST_TRIES if self.trouble == "guesses used up" else 1
        for _ in range(tries):
            answer = client.request(method, path, body=self.body(), headers=headers)
            if "Retry-After" in answer.headers:
                break
        return answer

    def send_in_process(self, app: Flask) -> Answer:
        """Sends the request to an application of this process."""
        answer = app.test_client().open(
            self.request["path"],
            method=self.request["method"],
            base_url=f"http://localhost:{self.request['port']}",
            data=self.body(),
            headers=self.request.get("headers"),
        )
        return Answer(answer.status_code, answer.status, answer.headers, answer.data)  # type: ignore[arg-type]

    def check(self, answer: Answer) -> None:
        """Holds an answer to the golden one."""
        assert answer.status == self.answer["status"], answer.text
        for name, value in self.answer["headers"].items():
            assert masked(answer.headers[name], value) == value, name
        if self.answer["body"] == PNG:
            with Image.open(BytesIO(answer.body)) as image:
                assert (image.format, image.size) == ("PNG", (300, 110))
            return
        if self.answer["body"] == WAV:
            assert (answer.body[:4], answer.body[8:12]) == (b"RIFF", b"WAVE")
            return
        if self.answer["body"] is None:
            assert answer.body == b""
            return
        got = json.loads(answer.text, object_pairs_hook=_without_duplicates)
        assert _as_text(masked(got, self.answer["body"])) == _as_text(self.answer["body"])
        assert b"\\u" not in answer.body, "Chinese is written as it is"


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), pairs
    return dict(pairs)


def masked(got: Any, golden: Any) -> Any:
    """Returns what was got, with "<…>" where the golden answer asks for a form and it is kept."""
    if isinstance(got, dict) and isinstance(golden, dict):
        return {key: masked(value, golden.get(key)) for key, value in got.items()}
    if isinstance(got, list) and isinstance(golden, list) and len(got) == len(golden):
        return [masked(*pair) for pair in zip(got, golden, strict=True)]
    if golden == "<int>":
        return golden if type(got) is int and got > 0 else got
    if isinstance(golden, str) and golden in FORMS and isinstance(got, str):
        return golden if re.fullmatch(FORMS[golden], got) else got
    return got


def _as_text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1)


def prepare(situation: Situation, service: Service, stores: Stores) -> None:
    """Makes the given users, captcha and token."""
    given = situation.given
    earlier = set(stores.mails())
    for user in given.get("users", []):
        make_user(service, stores, user)
    if "captcha" in given:
        situation.values |= new_captcha(situation.dialect, service, stores, given["captcha"])
    if "token" in given:
        situation.values["token"] = new_token(service, stores, given["token"])
    for step in given.get("before", []):
        take(step, situation, service)
    if "mail" in given:
        situation.values["mailed"] = mailed_token(stores, given["mail"], earlier)


def mailed_token(stores: Stores, address: str, earlier: set[Path]) -> str:
    """Waits for a mail to an address, and returns the token in it."""

    def found() -> list[str]:
        files = set(stores.mails()) - earlier
        mails = [message_from_bytes(file.read_bytes(), policy=policy.default) for file in files]
        texts = [mail.get_body(("plain",)) for mail in mails if address in str(mail["To"])]
        return [
            token
            for text in texts
            if text is not None
            for token in re.findall(r"\?token=([\w-]+)", text.get_content())
        ]

    assert wait_until(lambda: bool(found()), SENT_WITHIN), f"no mail to {address}"
    return found()[0]


def take(step: dict[str, Any], situation: Situation, service: Service) -> None:
    """Sends a request that comes before, and keeps what its answer gives under names of ours."""
    earlier = replace(situation, request=step, values=situation.values)
    answer = earlier.send(service)
    assert answer.status < 400, answer.text
    for name, place in step.get("keep", {}).items():
        value = answer.json()
        for key in place.split("."):
            value = value[int(key) if isinstance(value, list) else key]
        situation.values[name] = str(value)
    if "secret" in step.get("keep", {}):
        situation.values["code"] = pyotp.TOTP(situation.values["secret"]).now()


def make_user(service: Service, stores: Stores, user: dict[str, Any]) -> str:
    """Signs a user up and returns the token; without an e-mail address, it is taken away again."""
    body = {"password": "password-1", "email": f"{user['username']}@example.com", **user}
    client = Client(service.first, source=fresh_address())
    answer = client.post("/api/register", body)
    assert answer.status == 201, answer.text
    if "email" not in user:
        sql = "UPDATE users SET email = NULL, email_key = NULL WHERE username = ?"
        stores.sql(sql, user["username"])
    stores.promote(user["username"], user.get("permission", 0))
    if user.get("disabled"):
        stores.disable(user["username"])
    token: str = answer.json()["token"]
    return token


CAPTCHAS = {"ruoyi": ("/captchaImage", "uuid")}


def new_captcha(dialect: str, service: Service, stores: Stores, state: str) -> dict[str, str]:
    """Returns the id and the answer of a captcha that is live, used or expired."""
    client = Client(service.first, source=fresh_address())
    path, name = CAPTCHAS.get(dialect, ("/captcha", "captchaId"))
    captcha_id: str = client.get(path).json()[name]
    answer = stores.answer_of(captcha_id)
    if state == "used":
        stores.captchas.take(captcha_id, "nobody")
    elif state == "expired":
        stores.expire_captcha(captcha_id)
    return {"captcha": captcha_id, "answer": answer}


def new_token(service: Service, stores: Stores, given: dict[str, Any]) -> str:
    """Returns the token of a new user, fresh, expired or revoked."""
    token = make_user(service, stores, given["of"])
    if given.get("state") == "expired":
        return stores.expire_token(token)
    if given.get("state") == "revoked":
        stores.revoke(token)
    return token


@contextmanager
def given_trouble(situation: Situation, stores: Stores) -> Iterator[None]:
    """Lets things go wrong as the file says, and puts them right again."""
    troubles: dict[str | None, Callable[[], AbstractContextManager[None]]] = {
        "redis down": stores.redis_down,
        "redis full": stores.redis_full,
        "database down": stores.database_down,
        "overloaded": stores.overloaded,
        "limit used up": nullcontext,
        "guesses used up": nullcontext,
        None: nullcontext,
    }
    with troubles[situation.trouble]():
        yield


def service_for(situation: Situation, request: pytest.FixtureRequest) -> Service:
    """Returns the service that a situation is about."""
    limited = situation.trouble == "limit used up"
    service: Service
    if situation.settings:
        service = request.getfixturevalue("service_with")(situation.settings, limited=limited)
        return service
    edition = "older_edition" if situation.dialect == OLDER_EDITION else "service"
    names = {"older_edition": "limited_older_edition", "service": "limited"}
    service = request.getfixturevalue(names[edition] if limited else edition)
    return service
