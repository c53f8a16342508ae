"""The document What a RuoYi-Vue3 frontend expects of its login service, ruoyi.md."""

from base64 import b64encode
from typing import Any, Literal, TypedDict

from flask import Blueprint, request
from marshmallow import fields

from authsvc.core.captchas import LOG_IN, SIGN_UP
from authsvc.core.errors import (
    CaptchaExpired,
    CaptchaRejected,
    InvalidCaptchaAnswer,
    InvalidCredentials,
    InvalidInput,
    InvalidPassword,
    InvalidToken,
    InvalidUsername,
    Overloaded,
    PermissionDenied,
    SignUpClosed,
    TooManyAttempts,
    TooManyCaptchas,
    Unavailable,
    UserDisabled,
    UsernameTaken,
    WeakPassword,
    WrongPassword,
)
from authsvc.core.users import User
from authsvc.web.admission import hashes
from authsvc.web.bearer import bearer_token
from authsvc.web.body import Body, peek, read, takes
from authsvc.web.client import client, client_network
from authsvc.web.dialect import Dialect, ErrorTable, accounts, captchas, profile, sessions
from authsvc.web.errors import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)
from authsvc.web.limits import limited

ruoyi = Blueprint("ruoyi", __name__)

USERNAME_LENGTHS = range(2, 21)
PASSWORD_LENGTHS = range(5, 21)


class UsernameMissing(InvalidInput):
    """A new user has no name."""

    field = "username"


class PasswordMissing(InvalidInput):
    """A new user has no password."""

    field = "password"


class UsernameLength(InvalidInput):
    """A new user's name is one that the frontend lets nobody type."""

    field = "username"


def text() -> fields.String:
    """A field that may be missing or null, which is as good as empty."""
    return fields.String(allow_none=True, load_default="")


class PasswordBody(Body):
    password = text()


class CredentialsBody(PasswordBody):
    username = text()


class LoginBody(CredentialsBody):
    code = text()
    uuid = text()


class RegisterBodyWithoutCaptcha(CredentialsBody):
    confirmPassword = text()


class RegisterBody(LoginBody):
    confirmPassword = text()


class Success(TypedDict):
    code: Literal[200]
    msg: str


class CaptchaOff(Success):
    captchaEnabled: Literal[False]


class CaptchaOn(Success):
    captchaEnabled: Literal[True]
    uuid: str
    img: str


class LoggedIn(Success):
    token: str


class Person(TypedDict):
    userId: int
    userName: str
    nickName: str
    avatar: str


class Rights(TypedDict):
    roles: list[str]
    permissions: list[str]


class Info(Success, Rights):
    user: Person


class Routers(Success):
    data: list[Any]


class Notices(Routers):
    unreadCount: int


class Failure(TypedDict):
    code: int
    msg: str


LOGIN, LOGIN_WITHOUT_CAPTCHA = LoginBody(), CredentialsBody()
REGISTER, REGISTER_WITHOUT_CAPTCHA = RegisterBody(), RegisterBodyWithoutCaptcha()
UNLOCK = PasswordBody()

DONE = "操作成功"
ORDINARY: Rights = {"roles": [], "permissions": []}
ADMINISTRATOR: Rights = {"roles": ["admin"], "permissions": ["*:*:*"]}

ERRORS = ErrorTable(
    {
        CaptchaExpired: (200, 500, "验证码已失效"),
        CaptchaRejected: (200, 500, "验证码错误"),
        InvalidCaptchaAnswer: (200, 500, "验证码错误"),
        InvalidCredentials: (200, 500, "用户不存在/密码错误"),
        WrongPassword: (200, 500, "用户不存在/密码错误"),
        TooManyAttempts: (200, 500, "密码输入错误{free}次，帐户锁定{minutes}分钟"),
        UserDisabled: (200, 500, "用户已封禁，请联系管理员"),
        SignUpClosed: (200, 500, "当前系统没有开启注册功能！"),
        UsernameMissing: (200, 500, "用户名不能为空"),
        PasswordMissing: (200, 500, "用户密码不能为空"),
        UsernameLength: (200, 500, "账户长度必须在2到20个字符之间"),
        InvalidPassword: (200, 500, "密码长度必须在{shortest}到20个字符之间"),
        UsernameTaken: (200, 500, "保存用户'{username}'失败，注册账号已存在"),
        InvalidToken: (200, 401, "请求访问：{path}，认证失败，无法访问系统资源"),
        PermissionDenied: (200, 403, "没有权限，请联系管理员授权"),
        InvalidUsername: (200, 500, "账户格式不正确"),
        WeakPassword: (200, 500, "密码过于简单，请更换"),
        BadRequest: (200, 500, "请求参数错误"),
        UnsupportedMediaType: (200, 500, "请求参数错误"),
        NotFound: (200, 500, "访问资源不存在"),
        MethodNotAllowed: (200, 500, "请求方式不支持"),
        RequestEntityTooLarge: (200, 500, "请求内容过大"),
        TooManyRequests: (200, 500, "访问过于频繁，请稍候再试"),
        TooManyCaptchas: (200, 500, "访问过于频繁，请稍候再试"),
        Overloaded: (200, 500, "系统繁忙，请稍后再试"),
        Unavailable: (200, 500, "系统繁忙，请稍后再试"),
        Exception: (200, 500, "系统异常，请稍后再试"),
    },
    {"log_out": {InvalidToken: (200, 200, "退出成功")}},
)


def failure(error: BaseException, status: int, code: int, sentence: str) -> tuple[Failure, int]:
    return {"code": code, "msg": sentence.format_map(told_of(error))}, status


def told_of(error: BaseException) -> dict[str, Any]:
    match error:
        case TooManyAttempts():
            return {"free": error.free, "minutes": -(-error.retry_after // 60)}
        case InvalidPassword():
            return {"shortest": shortest_password()}
        case UsernameTaken():
            return {"username": peek("username")}
    return {"path": request.path}


def shortest_password() -> int:
    return max(PASSWORD_LENGTHS.start, accounts.password_min_length)


def person_of(user: User) -> Person:
    name = user.username
    return {"userId": user.id, "userName": name, "nickName": name, "avatar": ""}


def given() -> dict[str, str]:
    return {name: value or "" for name, value in read().items()}


def redeem_captcha(body: dict[str, str], purpose: str) -> None:
    if captchas.is_required(LOG_IN):
        captchas.redeem(body["uuid"], body["code"], purpose, client_network())


def has_length(username: str) -> bool:
    return len(username.strip()) in USERNAME_LENGTHS  # spaces around a name are not kept


def check_credentials(username: str, password: str) -> None:
    if not has_length(username) or len(password) not in PASSWORD_LENGTHS:
        raise InvalidCredentials


def check_new_user(username: str, password: str) -> None:
    if not username:
        raise UsernameMissing
    if not password:
        raise PasswordMissing
    if not has_length(username):
        raise UsernameLength
    if len(password) not in PASSWORD_LENGTHS:
        raise InvalidPassword(shortest_password())


@ruoyi.get("/captchaImage")
@limited("captcha")
def captcha_image() -> CaptchaOn | CaptchaOff:
    """验证码：登录与注册共用。"""
    if not captchas.is_required(LOG_IN):
        return {"code": 200, "msg": DONE, "captchaEnabled": False}
    uuid, image = captchas.issue_with_image(LOG_IN, client_network(), SIGN_UP)
    img = b64encode(image).decode()
    return {"code": 200, "msg": DONE, "captchaEnabled": True, "uuid": uuid, "img": img}


@ruoyi.post("/login")
@hashes
@limited("login", name_field="username")
@takes(LOGIN, without_captcha=LOGIN_WITHOUT_CAPTCHA, captcha=LOG_IN)
def log_in() -> LoggedIn:
    """登录。"""
    body = given()
    redeem_captcha(body, LOG_IN)
    check_credentials(body["username"], body["password"])
    _, token = accounts.log_in(body["username"], body["password"], client(), sliding=True)
    return {"code": 200, "msg": DONE, "token": token}


@ruoyi.get("/getInfo")
def get_info() -> Info:
    """当前用户的信息、角色与权限。"""
    user = accounts.who_is(bearer_token())
    rights = ADMINISTRATOR if accounts.policy.administers(user) else ORDINARY
    return {"code": 200, "msg": DONE, "user": person_of(user), **rights}


@ruoyi.get("/getRouters")
def get_routers() -> Routers:
    """当前用户的菜单：没有。"""
    accounts.who_is(bearer_token())
    return {"code": 200, "msg": DONE, "data": []}


@ruoyi.get("/system/notice/listTop")
def list_notices() -> Notices:
    """首页的公告：没有。"""
    accounts.who_is(bearer_token())
    return {"code": 200, "msg": DONE, "data": [], "unreadCount": 0}


@ruoyi.post("/logout")
def log_out() -> Success:
    """退出登录；令牌已失效时也成功。"""
    sessions.revoke(bearer_token())
    return {"code": 200, "msg": "退出成功"}


@ruoyi.post("/register")
@hashes
@limited("signup")
@takes(REGISTER, without_captcha=REGISTER_WITHOUT_CAPTCHA, captcha=LOG_IN)
def register() -> Success:
    """注册。"""
    accounts.require_open_sign_up()
    body = given()
    redeem_captcha(body, SIGN_UP)
    check_new_user(body["username"], body["password"])
    accounts.register(accounts.new_user(body["username"], body["password"]), client())
    return {"code": 200, "msg": DONE}


@ruoyi.post("/unlockscreen")
@hashes
@limited("password")
@takes(UNLOCK)
def unlock_screen() -> Success:
    """解除锁屏。"""
    identity = sessions.who_is(bearer_token())
    profile.confirm(identity, given()["password"], client())
    return {"code": 200, "msg": DONE}


DIALECT = Dialect(
    "ruoyi",
    (ruoyi,),
    ERRORS,
    failure,
    title="RuoYi-Vue3 前端的登录接口",
    language="zh",
    sign_up_captcha=True,
    captcha_setting="ruoyi_captcha",
    sign_up_setting="ruoyi_registration",
    longest_password=PASSWORD_LENGTHS[-1],
)
