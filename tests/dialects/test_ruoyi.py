"""The frontend of RuoYi-Vue3: its captcha, its order, its limits, and what it cannot type."""

import base64
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import jwt
import pytest
from flask import Flask
from PIL import Image

from authsvc import settings
from authsvc.app import create_app
from authsvc.core.errors import PermissionDenied, TooManyAttempts
from authsvc.dialects.ruoyi import DIALECT, ERRORS, failure
from authsvc.infra.database import db
from authsvc.settings import SettingsError
from tests.dialects import test_golden, wire
from tests.dialects.pages import PASSWORD, SESSION_SIGNUP, fresh_name, new_captcha, send
from tests.dialects.situations import GOLDEN, MOUNTS, fresh_address
from tests.dialects.stores import TEST_VALUE, Stores
from tests.dialects.test_malformed import BROKEN_TRANSFERS, HARMLESS, NOT_A_STRING, WRONG_TYPES
from tests.dialects.test_paths import OTHER_PATHS
from tests.support.client import Answer, Client, encode
from tests.support.service import Service

TABLE = {"AUTHSVC_MOUNTS": MOUNTS["ruoyi"]}
CAPTCHA_OFF = TABLE | {"AUTHSVC_RUOYI_CAPTCHA": "off"}
GUARDED = CAPTCHA_OFF | {"AUTHSVC_GUESS_LIMIT": "on"}

DONE = (200, "操作成功")
EXPIRED, WRONG = (500, "验证码已失效"), (500, "验证码错误")
REFUSED = (500, "用户不存在/密码错误")
MALFORMED = (500, "请求参数错误")
SIMULTANEOUS = 20
DOCUMENTED = [
    file
    for file in sorted((GOLDEN / "ruoyi").glob("*.json"))
    if json.loads(file.read_text(encoding="utf-8"))["documented"]
]


class Frontend:
    """Speaks the document, from an address of its own."""

    def __init__(self, service: Service, address: str | None = None) -> None:
        self.client = Client(service.first, source=address or fresh_address())

    def captcha(self) -> str:
        """Returns the uuid of a new captcha; empty if none is asked for."""
        uuid: str = self.client.get("/captchaImage").json().get("uuid", "")
        return uuid

    def log_in(self, name: Any, password: Any = PASSWORD, **changes: Any) -> Answer:
        """Logs in, with a captcha that is solved unless it is given."""
        return self.client.post("/login", self.body(name, password, changes))

    def register(self, name: Any, password: Any = PASSWORD, **changes: Any) -> Answer:
        """Registers, with a captcha that is solved unless it is given."""
        body = self.body(name, password, {"confirmPassword": password, **changes})
        return self.client.post("/register", body)

    def body(self, name: Any, password: Any, changes: dict[str, Any]) -> dict[str, Any]:
        """Returns what a form sends."""
        solved = {"code": TEST_VALUE} if "uuid" in changes else self.solved()
        return {"username": name, "password": password} | solved | changes

    def solved(self) -> dict[str, str]:
        """Returns the fields of a captcha that is solved."""
        return {"code": TEST_VALUE, "uuid": self.captcha()}

    def token(self, name: str) -> str:
        """Logs in and returns the token."""
        token: str = self.log_in(name).json()["token"]
        return token

    def get(self, path: str, token: str) -> Answer:
        """Asks with a token."""
        return self.client.get(path, headers={"Authorization": f"Bearer {token}"})

    def post(self, path: str, token: str, body: Any = None) -> Answer:
        """Posts with a token."""
        return self.client.post(path, body, headers={"Authorization": f"Bearer {token}"})


def said(answer: Answer) -> tuple[int, str]:
    """Returns the code and the sentence of an answer, which is a success of HTTP."""
    assert answer.status == 200, answer.text
    assert answer.headers["Content-Type"] == "application/json"
    body = answer.json()
    return body["code"], body["msg"]


@pytest.fixture
def frontend(ruoyi: Service) -> Frontend:
    return Frontend(ruoyi)


@pytest.fixture
def name(frontend: Frontend) -> str:
    """A user who registered through this document."""
    name = fresh_name("ruoyi")
    assert said(frontend.register(name)) == DONE
    return name


def test_a_person_registers_logs_in_reaches_the_home_page_and_logs_out(frontend: Frontend) -> None:
    name = fresh_name("visitor")
    assert frontend.register(name).json() == {"code": 200, "msg": "操作成功"}
    token = frontend.token(name)
    assert frontend.get("/getInfo", token).json()["user"]["userName"] == name
    for path in ("/getRouters", "/system/notice/listTop"):
        assert frontend.get(path, token).json()["data"] == []
    assert said(frontend.post("/unlockscreen", token, {"password": PASSWORD})) == DONE
    for _ in range(2):
        assert said(frontend.post("/logout", token)) == (200, "退出成功")
    assert frontend.get("/getInfo", token).json() == {
        "code": 401,
        "msg": "请求访问：/getInfo，认证失败，无法访问系统资源",
    }


def test_logging_out_ends_one_session_and_no_other(frontend: Frontend, name: str) -> None:
    one, other = frontend.token(name), frontend.token(name)
    assert said(frontend.post("/logout", one)) == (200, "退出成功")
    assert said(frontend.get("/getInfo", other)) == DONE


def test_a_session_goes_on_while_it_is_used_and_ends_when_it_is_idle(
    service_with: Callable[..., Service], name: str
) -> None:
    frontend = Frontend(service_with(TABLE | {"AUTHSVC_SLIDING_IDLE": "6"}))
    token = frontend.token(name)
    for _ in range(12):
        time.sleep(0.7)
        assert said(frontend.get("/getInfo", token)) == DONE
    time.sleep(6.1)
    assert said(frontend.get("/getInfo", token))[0] == 401


def test_a_token_is_good_for_a_day_at_the_most(frontend: Frontend, name: str) -> None:
    claims = jwt.decode(frontend.token(name), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 86_400


def test_the_path_in_a_refusal_is_the_one_that_was_asked_for(
    service_with: Callable[..., Service],
) -> None:
    below = service_with({"AUTHSVC_MOUNTS": "ruoyi=/prod-api"})
    answer = Client(below.first).get("/prod-api/getRouters?x=1")
    assert said(answer) == (401, "请求访问：/prod-api/getRouters，认证失败，无法访问系统资源")


@pytest.mark.parametrize("file", DOCUMENTED, ids=lambda file: file.stem)
def test_what_the_document_says_holds_on_either_database(
    file: Path, stores: Stores, request: pytest.FixtureRequest
) -> None:
    test_golden.check(file, stores, request)


# ---------------------------------------------------------------- the captcha


def test_the_picture_is_a_png_in_base64_that_nobody_stores(frontend: Frontend) -> None:
    answer = frontend.client.get("/captchaImage")
    with Image.open(BytesIO(base64.b64decode(answer.json()["img"], validate=True))) as picture:
        assert picture.format == "PNG"
    assert answer.headers["Cache-Control"] == "no-store"


def test_what_the_picture_shows_logs_in_in_any_case(
    frontend: Frontend, name: str, stores: Stores
) -> None:
    uuid = frontend.captcha()
    assert said(frontend.log_in(name, uuid=uuid, code=stores.answer_of(uuid).lower())) == DONE


def test_a_captcha_is_good_for_either_page_and_once(frontend: Frontend, name: str) -> None:
    first, second = frontend.captcha(), frontend.captcha()
    assert said(frontend.register(fresh_name(), uuid=first)) == DONE
    assert said(frontend.log_in(name, uuid=first)) == EXPIRED
    assert said(frontend.log_in(name, uuid=second)) == DONE
    assert said(frontend.register(fresh_name(), uuid=second)) == EXPIRED


def test_a_wrong_answer_burns_the_captcha(frontend: Frontend, name: str) -> None:
    uuid = frontend.captcha()
    assert said(frontend.log_in(name, uuid=uuid, code="wrong")) == WRONG
    assert said(frontend.log_in(name, uuid=uuid)) == EXPIRED


@pytest.mark.parametrize("code", ["", None, "x" * 4097])
def test_an_answer_that_is_none_burns_nothing(code: Any, frontend: Frontend, name: str) -> None:
    uuid = frontend.captcha()
    assert said(frontend.log_in(name, uuid=uuid, code=code)) == WRONG
    assert said(frontend.log_in(name, uuid=uuid)) == DONE


@pytest.mark.parametrize("field", ["username", "password", "code", "uuid"])
def test_a_field_of_another_type_is_malformed_and_burns_nothing(
    field: str, frontend: Frontend, name: str, stores: Stores
) -> None:
    uuid = frontend.captcha()
    body = {"username": name, "password": PASSWORD, "code": TEST_VALUE, "uuid": uuid, field: [1]}
    assert said(frontend.client.post("/login", body)) == MALFORMED
    assert stores.is_live(uuid)


def test_the_captcha_is_asked_for_before_the_fields(frontend: Frontend, stores: Stores) -> None:
    uuid = frontend.captcha()
    assert said(frontend.log_in("", "", uuid=uuid)) == REFUSED
    assert not stores.is_live(uuid)
    assert said(frontend.log_in("", "", uuid=uuid)) == EXPIRED


def test_of_many_simultaneous_log_ins_with_one_captcha_one_gets_in(
    frontend: Frontend, name: str
) -> None:
    uuid = frontend.captcha()
    with ThreadPoolExecutor(SIMULTANEOUS) as pool:
        answers = list(pool.map(lambda _: frontend.log_in(name, uuid=uuid), range(SIMULTANEOUS)))
    assert sorted(map(said, answers)) == [DONE, *[EXPIRED] * (SIMULTANEOUS - 1)]


def test_a_captcha_of_a_sign_up_elsewhere_is_not_good_for_a_log_in(
    frontend: Frontend, name: str, service: Service
) -> None:
    assert said(frontend.log_in(name, uuid=new_captcha(service))) == EXPIRED


def test_a_captcha_of_both_pages_is_good_for_a_sign_up_elsewhere(
    frontend: Frontend, service: Service
) -> None:
    other = fresh_name()
    body = {"username": other, "password": PASSWORD, "email": f"{other}@example.com"}
    captcha = {"captchaId": frontend.captcha(), "value": TEST_VALUE}
    assert send(service, SESSION_SIGNUP, body | captcha).status == 200


def test_without_captcha_an_old_one_is_passed_over_and_stays(
    service_with: Callable[..., Service], frontend: Frontend, name: str, stores: Stores
) -> None:
    off = Frontend(service_with(CAPTCHA_OFF))
    assert off.client.get("/captchaImage").json() == {
        "code": 200,
        "msg": "操作成功",
        "captchaEnabled": False,
    }
    old = frontend.captcha()
    for code in ("", "wrong", None, 5):
        assert said(off.log_in(name, uuid=old, code=code)) == DONE
        assert said(off.register(fresh_name(), uuid=old, code=code)) == DONE
    assert stores.is_live(old)


def test_the_captcha_of_the_session_document_is_switched_by_itself(
    service_with: Callable[..., Service], frontend: Frontend
) -> None:
    older = Frontend(service_with(TABLE | {"AUTHSVC_SIGNUP_CAPTCHA": "off"}))
    assert said(older.register(fresh_name(), uuid="", code="")) == WRONG
    assert said(older.register(fresh_name())) == DONE


# ---------------------------------------------------------------- registration


@pytest.mark.parametrize("body", [b"", b"[", b"{}", b'{"username": 5}'])
def test_registration_is_switched_off_whatever_is_sent(
    body: bytes, service_with: Callable[..., Service]
) -> None:
    closed = Frontend(service_with(TABLE | {"AUTHSVC_RUOYI_REGISTRATION": "off"}))
    headers = {"Content-Type": "application/json"}
    answer = closed.client.request("POST", "/register", body=body, headers=headers)
    assert said(answer) == (500, "当前系统没有开启注册功能！")


def test_where_registration_is_off_the_others_still_log_in(
    service_with: Callable[..., Service], name: str, stores: Stores
) -> None:
    closed = Frontend(service_with(TABLE | {"AUTHSVC_RUOYI_REGISTRATION": "off"}))
    uuid = closed.captcha()
    assert said(closed.register(fresh_name(), uuid=uuid))[0] == 500
    assert stores.is_live(uuid)
    assert said(closed.log_in(name, uuid=uuid)) == DONE


def test_of_simultaneous_registrations_of_one_name_one_succeeds(
    service_with: Callable[..., Service],
) -> None:
    frontend, name = Frontend(service_with(CAPTCHA_OFF)), fresh_name("coveted")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: frontend.register(name, uuid=""), range(8)))
    taken = (500, f"保存用户'{name}'失败，注册账号已存在")
    assert sorted(map(said, answers)) == [DONE, *[taken] * 7]


# ---------------------------------------------------------------- what nobody can type here


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("z", PASSWORD),
        ("z" * 21, PASSWORD),
        ("zoe-with-a-long-word", "p" * 21),
        ("zoe-with-a-longer-one", "密" * 64),
    ],
)
def test_what_the_frontend_cannot_type_is_wrong_here_and_right_elsewhere(
    name: str, password: str, ruoyi: Service, frontend: Frontend, stores: Stores
) -> None:
    stores.sql("DELETE FROM users WHERE username = ?", name)
    body = {"username": name, "password": password, "email": f"{fresh_name()}@example.com"}
    client = Client(ruoyi.first)
    assert client.post("/api/register", body).status == 201
    assert said(frontend.log_in(name, password)) == REFUSED
    assert client.post("/api/login", body).status == 200


@pytest.mark.parametrize("spelling", ["z ", "  z", "　z　", "   "])
def test_spaces_around_a_name_make_it_no_longer(
    spelling: str, frontend: Frontend, stores: Stores
) -> None:
    count = stores.sql("SELECT COUNT(*) FROM users")
    told = said(frontend.register(spelling))
    assert told == (500, "账户长度必须在2到20个字符之间")
    assert said(frontend.log_in(spelling)) == REFUSED
    assert stores.sql("SELECT COUNT(*) FROM users") == count


def test_spaces_around_a_name_are_not_kept(frontend: Frontend, stores: Stores) -> None:
    name = fresh_name()
    assert said(frontend.register(f" {name} ")) == DONE
    assert said(frontend.log_in(name)) == said(frontend.log_in(f"{name}  ")) == DONE
    assert stores.sql("SELECT COUNT(*) FROM users WHERE username = ?", name) == [(1,)]


def test_what_the_frontend_cannot_type_is_no_guess(service_with: Callable[..., Service]) -> None:
    frontend = Frontend(service_with(GUARDED))
    name = fresh_name()
    assert said(frontend.register(name, uuid="")) == DONE
    answers = [frontend.log_in(name, "x" * length, uuid="") for length in (0, 1, 4, 21) * 3]
    assert {said(answer) for answer in answers} == {REFUSED}
    assert said(frontend.log_in(name, uuid="")) == DONE


def test_a_user_made_here_has_no_address(frontend: Frontend, name: str, stores: Stores) -> None:
    assert stores.sql("SELECT email FROM users WHERE username = ?", name) == [(None,)]


# ---------------------------------------------------------------- users who may not


def test_a_disabled_user_is_told_so_only_with_the_right_password(
    frontend: Frontend, name: str, ruoyi: Service, stores: Stores
) -> None:
    token = frontend.token(name)
    stores.disable(name)
    assert said(frontend.log_in(name)) == (500, "用户已封禁，请联系管理员")
    assert said(frontend.log_in(name, "another-password")) == REFUSED
    assert said(frontend.get("/getInfo", token))[0] == 401
    elsewhere = Client(ruoyi.first).post("/api/login", {"username": name, "password": PASSWORD})
    assert (elsewhere.status, elsewhere.json()) == (401, {"error": "Invalid credentials"})


def test_an_administrator_of_a_higher_threshold_is_none_here(
    service_with: Callable[..., Service], name: str, stores: Stores
) -> None:
    stores.promote(name, 1)
    frontend = Frontend(service_with(TABLE | {"AUTHSVC_ADMIN_PERMISSION": "2"}))
    token = frontend.token(name)
    assert frontend.get("/getInfo", token).json()["roles"] == []
    stores.promote(name, 2)
    assert frontend.get("/getInfo", token).json()["permissions"] == ["*:*:*"]


def test_the_words_for_a_missing_right_are_the_documents(app: Flask) -> None:
    error = PermissionDenied()
    with app.test_request_context():
        told = failure(error, *ERRORS.row(error, "get_info"))
    assert told == ({"code": 403, "msg": "没有权限，请联系管理员授权"}, 200)


# ---------------------------------------------------------------- guesses and limits


def lock_out(frontend: Frontend, name: str, most: int = 100) -> Answer:
    """Guesses until the answer says how long to wait."""
    for _ in range(most):
        answer = frontend.log_in(name, "wrong-password", uuid="")
        if "Retry-After" in answer.headers:
            return answer
        assert said(answer) == REFUSED
    raise AssertionError("nobody asks to wait")


def test_failures_lock_a_name_for_one_address_alone(
    service_with: Callable[..., Service],
) -> None:
    guarded = service_with(GUARDED | {"AUTHSVC_GUESS_PAIR": "3"})
    guesser, owner = Frontend(guarded), Frontend(guarded)
    name, other = fresh_name("victim"), fresh_name("other")
    for made in (name, other):
        assert said(owner.register(made, uuid="")) == DONE
    assert said(lock_out(guesser, name)) == (500, "密码输入错误3次，帐户锁定1分钟")
    assert said(owner.log_in(name, uuid="")) == DONE
    assert said(guesser.log_in(other, uuid="")) == DONE


def test_failures_of_an_address_name_the_number_that_is_free_to_it(
    service_with: Callable[..., Service],
) -> None:
    guesser = Frontend(service_with(GUARDED | {"AUTHSVC_GUESS_ADDRESS": "2"}))
    answers = [guesser.log_in(fresh_name("nobody"), uuid="") for _ in range(2)]
    assert {said(answer) for answer in answers} == {REFUSED}
    for _ in range(100):
        answer = guesser.log_in(fresh_name("nobody"), uuid="")
        if "Retry-After" in answer.headers:
            break
    assert said(answer) == (500, "密码输入错误2次，帐户锁定1分钟")


def test_wrong_passwords_at_the_lock_screen_are_guesses_and_end_no_session(
    service_with: Callable[..., Service],
) -> None:
    frontend = Frontend(service_with(GUARDED))
    name = fresh_name()
    frontend.register(name, uuid="")
    token = frontend.log_in(name, uuid="").json()["token"]
    answers = [frontend.post("/unlockscreen", token, {"password": "wrong"}) for _ in range(3)]
    assert {said(answer) for answer in answers} == {REFUSED}
    assert said(lock_out(frontend, name)) == (500, "密码输入错误5次，帐户锁定1分钟")
    assert said(frontend.get("/getInfo", token)) == DONE


@pytest.mark.parametrize(
    ("wait", "minutes"), [(1, 1), (59, 1), (60, 1), (61, 2), (600, 10), (899, 15), (900, 15)]
)
def test_a_wait_is_told_in_whole_minutes_and_never_too_short(
    wait: int, minutes: int, app: Flask
) -> None:
    error = TooManyAttempts(wait, free=5)
    with app.test_request_context():
        told = failure(error, *ERRORS.row(error, "log_in"))
    assert told == ({"code": 500, "msg": f"密码输入错误5次，帐户锁定{minutes}分钟"}, 200)


def test_rates_count_a_name_from_one_address_and_never_the_name_alone(
    service_with: Callable[..., Service],
) -> None:
    rates = {"AUTHSVC_RATELIMIT_ENABLED": "on", "AUTHSVC_RATELIMIT_LOGIN_PAIR": "2/day"}
    limited = service_with(CAPTCHA_OFF | rates)
    one, other, name = Frontend(limited), Frontend(limited), fresh_name()
    assert said(other.register(name, uuid="")) == DONE
    answers = [one.log_in(name, uuid="") for _ in range(3)]
    assert list(map(said, answers)) == [DONE, DONE, (500, "访问过于频繁，请稍候再试")]
    assert "Retry-After" in answers[-1].headers
    assert said(other.log_in(name, uuid="")) == DONE


def test_rates_count_this_document_together_with_the_others(
    service_with: Callable[..., Service],
) -> None:
    rates = {"AUTHSVC_RATELIMIT_ENABLED": "on", "AUTHSVC_RATELIMIT_LOGIN_PAIR": "2/day"}
    frontend, name = Frontend(service_with(CAPTCHA_OFF | rates)), fresh_name()
    body = {"username": name.upper(), "password": PASSWORD}
    assert said(frontend.log_in(name, uuid="")) == REFUSED
    assert frontend.client.post("/api/login", body).status == 401
    assert said(frontend.log_in(name, uuid="")) == (500, "访问过于频繁，请稍候再试")
    assert frontend.client.post("/api/login", body).status == 429


# ---------------------------------------------------------------- bodies and paths

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("change", HARMLESS.values(), ids=HARMLESS)
@pytest.mark.parametrize("path", ["/login", "/register"])
def test_a_body_that_is_valid_in_spite_of_its_looks_succeeds(
    path: str, change: Callable[[bytes], bytes], frontend: Frontend
) -> None:
    name = fresh_name("Valid")
    if path == "/login":
        assert said(frontend.register(name)) == DONE
    body = change(encode({"username": name, "password": PASSWORD} | frontend.solved()))
    assert said(frontend.client.request("POST", path, body=body, headers=JSON)) == DONE


@pytest.mark.parametrize("content_type", WRONG_TYPES)
@pytest.mark.parametrize("path", ["/login", "/register"])
def test_a_body_of_another_content_type_is_malformed(
    path: str, content_type: str, frontend: Frontend
) -> None:
    headers = {"Content-Type": content_type}
    answer = frontend.client.request("POST", path, body=b"{}", headers=headers)
    assert said(answer) == MALFORMED


@pytest.mark.parametrize("transfer", BROKEN_TRANSFERS.values(), ids=BROKEN_TRANSFERS)
@pytest.mark.parametrize("path", ["/login", "/register"])
def test_a_body_that_does_not_arrive_whole_is_malformed(
    path: str, transfer: tuple[dict[str, str], bytes], ruoyi: Service
) -> None:
    how, body = transfer
    lines = [f"{name}: {value}" for name, value in (how | JSON | {"Host": "localhost"}).items()]
    answer = wire.exchange(ruoyi.ports[0], wire.message("POST", path, lines) + body)
    assert said(answer) == MALFORMED


@pytest.mark.parametrize("value", NOT_A_STRING.values(), ids=NOT_A_STRING)
@pytest.mark.parametrize("field", ["username", "password", "confirmPassword", "code", "uuid"])
@pytest.mark.parametrize("path", ["/login", "/register"])
def test_a_field_is_a_string_or_null(
    path: str, field: str, value: Any, frontend: Frontend, stores: Stores
) -> None:
    uuid = frontend.captcha()
    body = {"username": "x", "password": "x", "code": "x", "uuid": uuid, field: value}
    answer = frontend.client.post(path, body)
    passed_over = path == "/login" and field == "confirmPassword"
    assert (said(answer) == MALFORMED) == (value is not None and not passed_over)
    burnt = value is None or passed_over
    assert stores.is_live(uuid) == (not burnt or (value is None and field in ("code", "uuid")))


OTHER_TARGETS = {
    name: pattern.format(prefix="", name="login", upper="LOGIN", hex="6c", rest="ogin")
    for name, pattern in OTHER_PATHS.items()
}


@pytest.mark.parametrize(
    "target",
    # gunicorn takes slashes at the beginning for one
    [
        pytest.param(target, id=name)
        for name, target in OTHER_TARGETS.items()
        if not target.startswith("//")
    ],
)
def test_another_spelling_of_a_path_is_not_found(target: str, ruoyi: Service) -> None:
    request = wire.message("POST", target, ["Host: localhost", wire.JSON], b"{}")
    answer = wire.exchange(ruoyi.ports[0], request)
    assert said(answer) == (500, "访问资源不存在")
    assert "X-Injected" not in answer.headers


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "FOO"])
def test_another_method_is_a_success_of_http_that_names_the_methods(
    method: str, frontend: Frontend
) -> None:
    answer = frontend.client.request(method, "/login")
    assert said(answer) == (500, "请求方式不支持")
    assert answer.headers["Allow"] == "OPTIONS, POST"


# ---------------------------------------------------------------- mounting


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The application in this process, with this dialect alone."""
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv("AUTHSVC_MOUNTS", "ruoyi=/")
    app = create_app(settings.load())
    yield app
    with app.app_context():
        db.engine.dispose()


def test_the_same_place_as_the_session_document_is_refused_at_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv("AUTHSVC_MOUNTS", "ruoyi=/, session=/")
    with pytest.raises(SettingsError, match='"ruoyi=/" and "session=/" both claim POST /login'):
        create_app(settings.load())


def test_it_is_not_mounted_unless_asked_for(service: Service, ruoyi: Service) -> None:
    def listed(asked: Service) -> list[str]:
        documents = Client(asked.first).get("/openapi").json()["documents"]
        return [document["dialect"] for document in documents]

    assert DIALECT.name not in listed(service)
    assert DIALECT.name in listed(ruoyi)
