"""One core behind all documents: an account and a token of each are good in every other."""

from collections.abc import Callable

import pytest

from tests.dialects.pages import (
    ADMIN_CREATE_USER,
    ADMIN_LOGIN,
    ADMIN_REGISTER,
    ENVELOPE_LOGIN,
    ENVELOPE_REGISTER,
    PASSWORD,
    RUOYI_LOGIN,
    RUOYI_REGISTER,
    SESSION_LOGIN,
    SESSION_SIGNUP,
    TOKEN_LOGIN,
    TOKEN_REGISTER,
    Operation,
    fresh_name,
    new_captcha,
    send,
    status_of,
    token_of,
)
from tests.dialects.stores import TEST_VALUE, Stores
from tests.support.client import Answer, Client
from tests.support.service import Service

OLDER = "older session"
RUOYI = "ruoyi"

SIGN_UPS: dict[str, Operation] = {
    "session": SESSION_SIGNUP,
    OLDER: SESSION_SIGNUP,
    "token": TOKEN_REGISTER,
    "admin": ADMIN_REGISTER,
    "admin's createUser": ADMIN_CREATE_USER,
    "envelope": ENVELOPE_REGISTER,
    RUOYI: RUOYI_REGISTER,
}
LOG_INS: dict[str, Operation] = {
    "session": SESSION_LOGIN,
    OLDER: SESSION_LOGIN,
    "token": TOKEN_LOGIN,
    "admin": ADMIN_LOGIN,
    "envelope": ENVELOPE_LOGIN,
    RUOYI: RUOYI_LOGIN,
}
GIVES_A_TOKEN = ("session", OLDER, "token", "admin")


class Editions:
    """Every edition of the service, over one set of users.

    Args:
        newer: asks for a captcha.
        older: does not.
        ruoyi: speaks to a RuoYi-Vue3 frontend.
        stores: behind them all.
    """

    def __init__(self, newer: Service, older: Service, ruoyi: Service, stores: Stores) -> None:
        self.newer = newer
        self.older = older
        self.ruoyi = ruoyi
        self.stores = stores

    def sign_up(self, way: str, name: str, **changes: str) -> Answer:
        """Makes an account in one of the `SIGN_UPS`; returns the answer."""
        operation = SIGN_UPS[way]
        body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"} | changes
        if way == "session":
            body |= {"captchaId": new_captcha(self.newer), "value": TEST_VALUE}
        if operation in (ENVELOPE_REGISTER, RUOYI_REGISTER):
            del body["email"]
        body |= self._ruoyi_captcha(way)
        token = self.administrator("token") if operation is ADMIN_CREATE_USER else None
        return send(self._edition(way), operation, body, token)

    def log_in(self, way: str, name: str, password: str = PASSWORD) -> Answer:
        """Logs in in one of the `LOG_INS`; returns the answer."""
        credentials = {"username": name, "password": password} | self._ruoyi_captcha(way)
        return send(self._edition(way), LOG_INS[way], credentials)

    def administrator(self, way: str) -> str:
        """Returns the token that a new administrator's login gives."""
        name = fresh_name("boss")
        assert self.sign_up("token", name).status == 201
        self.stores.promote(name)
        return token_of(self.log_in(way, name))

    def create_user(self, token: str) -> Answer:
        """Presents a token to `createUser`."""
        name = fresh_name()
        body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
        return send(self.newer, ADMIN_CREATE_USER, body, token)

    def _edition(self, way: str) -> Service:
        return {OLDER: self.older, RUOYI: self.ruoyi}.get(way, self.newer)

    def _ruoyi_captcha(self, way: str) -> dict[str, str]:
        if way != RUOYI:
            return {}
        uuid = Client(self.ruoyi.first).get("/captchaImage").json()["uuid"]
        return {"code": TEST_VALUE, "uuid": uuid}


@pytest.fixture(scope="module")
def editions(service: Service, older_edition: Service, ruoyi: Service, stores: Stores) -> Editions:
    return Editions(service, older_edition, ruoyi, stores)


@pytest.fixture(scope="module")
def accounts(editions: Editions) -> dict[str, str]:
    """A user name for each way of signing up."""
    names = {way: fresh_name("Account") for way in SIGN_UPS}
    for way, name in names.items():
        answer = editions.sign_up(way, name)
        assert status_of(answer) == SIGN_UPS[way].success, (way, answer.text)
    return names


@pytest.mark.parametrize("log_in", LOG_INS)
@pytest.mark.parametrize("sign_up", SIGN_UPS)
def test_an_account_made_through_one_document_logs_in_through_every_other(
    sign_up: str, log_in: str, editions: Editions, accounts: dict[str, str]
) -> None:
    answer = editions.log_in(log_in, accounts[sign_up])
    assert status_of(answer) == 200, answer.text
    assert token_of(answer)
    assert status_of(editions.log_in(log_in, accounts[sign_up], "Another-pass-1")) == 401


@pytest.mark.parametrize("second", SIGN_UPS)
@pytest.mark.parametrize("first", SIGN_UPS)
def test_a_name_taken_through_one_document_is_taken_in_every_other(
    first: str, second: str, editions: Editions, accounts: dict[str, str]
) -> None:
    answer = editions.sign_up(second, accounts[first], email=f"{fresh_name()}@example.com")
    assert status_of(answer) == 409, answer.text


@pytest.mark.parametrize("way", LOG_INS)
def test_create_user_honours_an_administrators_token_from_every_login(
    way: str, editions: Editions
) -> None:
    answer = editions.create_user(editions.administrator(way))
    assert answer.status == 201, answer.text


@pytest.mark.parametrize("way", LOG_INS)
def test_create_user_refuses_an_ordinary_users_token_from_every_login(
    way: str, editions: Editions, accounts: dict[str, str]
) -> None:
    answer = editions.create_user(token_of(editions.log_in(way, accounts["token"])))
    assert answer.status == 403
    assert answer.json() == {"message": "权限不足"}


@pytest.mark.parametrize("way", GIVES_A_TOKEN)
def test_the_token_of_a_sign_up_has_the_permission_that_its_user_has_now(
    way: str, editions: Editions, stores: Stores
) -> None:
    name = fresh_name()
    token = token_of(editions.sign_up(way, name))
    assert editions.create_user(token).status == 403
    stores.promote(name)
    assert editions.create_user(token).status == 201
    stores.promote(name, 0)
    assert editions.create_user(token).status == 403


def test_a_token_is_refused_once_its_user_is_gone(editions: Editions, stores: Stores) -> None:
    name = fresh_name()
    token = token_of(editions.sign_up("token", name))
    stores.sql("DELETE FROM users WHERE username = ?", name)
    assert editions.create_user(token).status == 401


def test_the_administrator_of_the_command_line_logs_in_and_creates_users(
    editions: Editions, service: Service
) -> None:
    name = fresh_name("operator")
    run = service.flask("create-admin", name, env={"AUTHSVC_ADMIN_PASSWORD": PASSWORD})
    assert run.returncode == 0, run.stderr
    answer = editions.log_in("admin", name)
    assert answer.json()["user"]["email"] == ""
    assert editions.create_user(token_of(answer)).status == 201


def full_width(name: str) -> str:
    """Returns the name in full-width letters and digits."""
    return "".join(chr(ord(character) + 0xFEE0) for character in name)


SPELLINGS: dict[str, Callable[[str], str]] = {
    "lower case": str.lower,
    "upper case": str.upper,
    "full width": full_width,
    "surrounding spaces": lambda name: f"  {name}\u3000",
    "all at once": lambda name: f"\u2003{full_width(name.upper())} ",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("way", LOG_INS)
def test_a_name_logs_in_in_every_spelling(
    way: str, spelling: str, editions: Editions, accounts: dict[str, str]
) -> None:
    answer = editions.log_in(way, SPELLINGS[spelling](accounts["token"]))
    assert status_of(answer) == 200, answer.text


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("way", SIGN_UPS)
def test_a_name_is_taken_in_every_spelling(
    way: str, spelling: str, editions: Editions, accounts: dict[str, str]
) -> None:
    email = f"{fresh_name()}@example.com"
    answer = editions.sign_up(way, SPELLINGS[spelling](accounts["token"]), email=email)
    assert status_of(answer) == 409, answer.text


@pytest.mark.parametrize(
    ("typed", "other"),
    [("Straße", "STRASSE"), ("Ǆungla", "ǆungla"), ("Σίσυφος", "ΣΊΣΥΦΟΣ"), ("ﬁona", "FIONA")],
)
def test_a_name_that_changes_its_length_when_folded_logs_in(
    typed: str, other: str, editions: Editions
) -> None:
    number = fresh_name("")
    answer = editions.sign_up("token", typed + number, email=f"{number}@example.com")
    assert answer.status == 201, answer.text
    assert editions.log_in("envelope", other + number).status == 200


def test_a_name_is_shown_as_typed_trimmed_and_with_compatibility_characters_resolved(
    editions: Editions,
) -> None:
    number = fresh_name("")
    typed = f" Ｚoë{number} "
    assert editions.sign_up("token", typed, email=f"zoe{number}@example.com").status == 201
    shown = f"Zoë{number}"
    assert editions.log_in("token", f"ZOË{number}").json()["username"] == shown
    assert editions.log_in("admin", f"zoë{number}").json()["user"]["username"] == shown
    login = editions.log_in("envelope", f"zoë{number}").json()
    assert login["data"]["user"]["username"] == shown


def test_a_name_of_every_script_is_answered_unescaped(editions: Editions) -> None:
    name = f"用户😀é{fresh_name('')}"
    email = f"{fresh_name()}@example.com"
    answer = editions.sign_up("token", name, email=email)
    assert answer.status == 201
    assert f'"username":"{name}"'.encode() in answer.body
    assert editions.log_in("envelope", name).json()["data"]["user"]["username"] == name
