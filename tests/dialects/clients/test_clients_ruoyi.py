"""A RuoYi-Vue3 frontend from its log-in page to its home page and out, on both pairs of stores."""

from collections.abc import Iterator

import pytest

from tests.dialects.clients.browser import Page
from tests.dialects.clients.ruoyi import Dead, Refused, RuoYi
from tests.dialects.clients.token import TokenClient
from tests.dialects.conftest import Serve
from tests.dialects.pages import fresh_name
from tests.dialects.stores import Stores
from tests.support.service import Service

PASSWORD = "Secret-pass-1"
HOME = ["GET /getInfo", "GET /getRouters", "GET /system/notice/listTop"]
ADMINISTRATOR = (["admin"], ["*:*:*"])


@pytest.fixture(scope="module")
def ruoyi(serve: Serve) -> Service:
    """The service for one RuoYi-Vue3 frontend, and another document beside it."""
    return serve("ruoyi", {"AUTHSVC_MOUNTS": "ruoyi=/, token=/api"})


@pytest.fixture(scope="module")
def without_captcha(serve: Serve) -> Service:
    """The same with the captcha switched off."""
    settings = {"AUTHSVC_MOUNTS": "ruoyi=/", "AUTHSVC_RUOYI_CAPTCHA": "off"}
    return serve("ruoyi-without-captcha", settings)


@pytest.fixture
def tab(ruoyi: Service, stores: Stores) -> Iterator[RuoYi]:
    """A tab with the frontend."""
    page = Page(ruoyi.first, ruoyi.first)
    yield RuoYi(page, stores.answer_of)
    page.close()


@pytest.fixture
def name(tab: RuoYi) -> str:
    """The name of somebody who has registered; what was sent for it is forgotten."""
    name = fresh_name("ry")
    tab.open_door()
    assert tab.register(name, PASSWORD) == "操作成功"
    tab.page.sent.clear()
    return name


def test_it_registers_logs_in_goes_home_reloads_unlocks_and_logs_out(tab: RuoYi, name: str) -> None:
    tab.open_door()
    tab.log_in(name, PASSWORD)
    assert (tab.user["userName"], tab.roles, tab.permissions) == (name, [], [])
    tab.reload()
    assert tab.user["userName"] == name
    tab.unlock_screen(PASSWORD)
    assert tab.log_out() == "退出成功"
    assert tab.page.sent == [
        "GET /captchaImage",
        "POST /login",
        *HOME,
        *HOME,
        "POST /unlockscreen",
        "POST /logout",
    ]
    assert tab.page.connections == 1


def test_an_administrator_has_every_right(tab: RuoYi, name: str, stores: Stores) -> None:
    stores.promote(name)
    tab.open_door()
    tab.log_in(name, PASSWORD)
    assert (tab.roles, tab.permissions) == ADMINISTRATOR


def test_a_failed_try_gets_a_new_picture(tab: RuoYi, name: str) -> None:
    tab.open_door()
    seen = {tab.uuid}
    for password, code, shown in (
        (PASSWORD, "wrong", "验证码错误"),
        ("Wrong-pass-1", None, "用户不存在/密码错误"),
    ):
        with pytest.raises(Refused) as refusal:
            tab.log_in(name, password, code)
        assert (refusal.value.code, refusal.value.shown) == (500, shown)
        assert tab.uuid not in seen
        seen.add(tab.uuid)
    tab.log_in(name, PASSWORD)
    assert tab.page.sent == ["GET /captchaImage", "POST /login"] * 3 + HOME


def test_a_picture_is_good_for_one_try(tab: RuoYi, name: str, stores: Stores) -> None:
    tab.open_door()
    code = stores.answer_of(tab.uuid or "")
    used = tab.uuid
    tab.log_in(name, PASSWORD, code.lower())
    tab.token, tab.uuid = None, used
    with pytest.raises(Refused, match="验证码已失效"):
        tab.log_in(name, PASSWORD, code)


def test_a_taken_name_is_told_and_gets_a_new_picture(tab: RuoYi, name: str) -> None:
    tab.open_door()
    first = tab.uuid
    with pytest.raises(Refused, match=f"保存用户'{name}'失败，注册账号已存在"):
        tab.register(name, PASSWORD)
    assert tab.uuid != first


def test_a_password_too_short_for_the_service_names_the_numbers(tab: RuoYi) -> None:
    tab.open_door()
    with pytest.raises(Refused, match="密码长度必须在8到20个字符之间"):
        tab.register(fresh_name("ry"), "short")


def test_a_dead_session_is_known_by_its_code_and_logs_out_all_the_same(
    tab: RuoYi, name: str, stores: Stores
) -> None:
    tab.open_door()
    tab.log_in(name, PASSWORD)
    stores.revoke(tab.token or "")
    with pytest.raises(Dead, match="请求访问：/getInfo，认证失败，无法访问系统资源"):
        tab.reload()
    assert tab.log_out() == "退出成功"


def test_the_screen_stays_locked_for_another_password(tab: RuoYi, name: str) -> None:
    tab.open_door()
    tab.log_in(name, PASSWORD)
    with pytest.raises(Refused) as refusal:
        tab.unlock_screen("Wrong-pass-1")
    assert refusal.value.code == 500
    tab.unlock_screen(PASSWORD)


def test_a_log_in_page_with_an_old_token_sends_none(tab: RuoYi, name: str) -> None:
    tab.token = "no.such.token"
    tab.open_door()
    tab.log_in(name, PASSWORD)
    assert tab.user["userName"] == name


def test_without_captcha_it_shows_none_and_sends_an_empty_code(
    without_captcha: Service, stores: Stores
) -> None:
    page = Page(without_captcha.first, without_captcha.first)
    tab = RuoYi(page, stores.answer_of)
    name = fresh_name("ry")
    tab.open_door()
    assert not tab.captcha_enabled
    tab.register(name, PASSWORD)
    tab.log_in(name, PASSWORD)
    tab.uuid = "an-old-one"
    tab.log_in(name, PASSWORD)
    with pytest.raises(Refused, match="用户不存在/密码错误"):
        tab.log_in(name, "Wrong-pass-1")
    assert page.sent.count("GET /captchaImage") == 1
    page.close()


@pytest.mark.parametrize("path", ["/nowhere", "/system/user/list", "/login/x"])
def test_what_is_not_there_is_told_with_status_200(tab: RuoYi, path: str) -> None:
    reply = tab.page.send("GET", path)
    assert (reply.status, reply.json()["code"]) == (200, 500)


def test_its_users_log_in_elsewhere_and_theirs_here(tab: RuoYi, name: str, ruoyi: Service) -> None:
    page = Page(ruoyi.first, ruoyi.first)
    client = TokenClient(page)
    assert client.log_in(name, PASSWORD)
    other = fresh_name("other")
    assert client.register(other, PASSWORD, f"{other}@example.com")
    tab.open_door()
    tab.log_in(other, PASSWORD)
    assert tab.user["userName"] == other
    page.close()
