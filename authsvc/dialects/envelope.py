"""The document 接口文档 - 认证服务, envelope.md."""

from typing import Any, Literal, NotRequired, TypedDict

from flask import Blueprint
from marshmallow import fields
from marshmallow.validate import Length

from authsvc.core.errors import (
    InvalidCredentials,
    InvalidPassword,
    InvalidUsername,
    Overloaded,
    TooManyAttempts,
    UsernameTaken,
)
from authsvc.core.users import User
from authsvc.web.admission import hashes
from authsvc.web.body import Body, MalformedBody, read, takes
from authsvc.web.client import client
from authsvc.web.dialect import Dialect, ErrorTable, accounts
from authsvc.web.errors import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)
from authsvc.web.limits import limited

envelope = Blueprint("envelope", __name__)

WORDS: dict[str, Any] = {
    "required": "此字段为必填项",
    "null": "不能为空",
    "invalid": "必须是字符串",
}
NOT_EMPTY = Length(min=1, error="不能为空")


class RegisterBody(Body):
    username = fields.String(required=True, validate=NOT_EMPTY, error_messages=WORDS)
    password = fields.String(required=True, error_messages=WORDS)


class LoginBody(RegisterBody):
    password = fields.String(required=True, validate=NOT_EMPTY, error_messages=WORDS)


class Registered(TypedDict):
    success: Literal[True]
    message: str
    statusCode: int


class Person(TypedDict):
    id: str
    username: str


class Credential(TypedDict):
    token: str
    user: Person


class LoggedIn(Registered):
    data: Credential


class Failure(TypedDict):
    success: Literal[False]
    message: str
    statusCode: int
    errorCode: str
    details: NotRequired[dict[str, Any]]


REGISTER, LOGIN = RegisterBody(), LoginBody()

ERRORS = ErrorTable(
    {
        BadRequest: (400, "请求参数无效", "INVALID_INPUT"),
        UnsupportedMediaType: (415, "请求参数无效", "INVALID_INPUT"),
        InvalidUsername: (400, "请求参数无效", "INVALID_INPUT"),
        UsernameTaken: (409, "用户名已存在", "USERNAME_ALREADY_EXISTS"),
        InvalidPassword: (400, "密码不符合要求", "INVALID_PASSWORD"),
        InvalidCredentials: (401, "用户名或密码不正确", "INVALID_CREDENTIALS"),
        NotFound: (404, "接口不存在", "NOT_FOUND"),
        MethodNotAllowed: (405, "请求方法不允许", "METHOD_NOT_ALLOWED"),
        RequestEntityTooLarge: (413, "请求内容过大", "REQUEST_TOO_LARGE"),
        TooManyRequests: (429, "请求过于频繁，请稍后再试", "TOO_MANY_REQUESTS"),
        TooManyAttempts: (429, "请求过于频繁，请稍后再试", "TOO_MANY_REQUESTS"),
        Exception: (500, "服务器内部错误，请稍后再试", "SERVER_ERROR"),
        Overloaded: (503, "服务繁忙，请稍后再试", "SERVICE_UNAVAILABLE"),
    },
    {"log_in": {Exception: (500, "服务器内部错误，登录失败", "SERVER_ERROR")}},
)


def failure(error: BaseException, status: int, message: str, code: str) -> tuple[Failure, int]:
    body: Failure = {
        "success": False,
        "message": message,
        "statusCode": status,
        "errorCode": code,
    }
    if details := details_of(error):
        body["details"] = details
    return body, status


def details_of(error: BaseException) -> dict[str, Any]:
    match error:
        case InvalidPassword():
            return {"min_length": error.min_length, "requires_uppercase": True}
        case InvalidUsername():
            return {"username": ["用户名格式不正确"]}
        case MalformedBody():
            return error.faults
    return {}


def check_uppercase(password: str) -> None:
    """The document's own rule; the minimum length is the core's."""
    if not any(character.isupper() for character in password):
        raise InvalidPassword(accounts.password_min_length)


def user_of(user: User) -> Person:
    return {"id": str(user.id), "username": user.username}


@envelope.post("/register")
@hashes
@limited("signup")
@takes(REGISTER)
def register() -> Registered:
    """用户注册：创建一个新的用户账户。"""
    body = read()
    check_uppercase(body["password"])
    accounts.register(accounts.new_user(body["username"], body["password"]), client())
    return {"success": True, "message": "注册成功", "statusCode": 200}


@envelope.post("/login")
@hashes
@limited("login", name_field="username")
@takes(LOGIN)
def log_in() -> LoggedIn:
    """用户登录：使用用户名和密码进行登录，成功后返回认证令牌。"""
    body = read()
    user, token = accounts.log_in(body["username"], body["password"], client())
    data: Credential = {"token": token, "user": user_of(user)}
    return {"success": True, "message": "登录成功", "data": data, "statusCode": 200}


DIALECT = Dialect(
    "envelope", (envelope,), ERRORS, failure, title="接口文档 - 认证服务", language="zh"
)
