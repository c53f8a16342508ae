"""The document 认证 API - 登录与注册, admin.md."""

from typing import Literal, TypedDict

from flask import Blueprint
from marshmallow import fields
from marshmallow.validate import Length

from authsvc.core.accounts import ORDINARY
from authsvc.core.errors import (
    EmailTaken,
    InvalidCredentials,
    InvalidEmail,
    InvalidPassword,
    InvalidPermission,
    InvalidToken,
    InvalidUsername,
    Overloaded,
    PermissionDenied,
    TooManyAttempts,
    UsernameTaken,
)
from authsvc.core.users import User
from authsvc.web.admission import hashes
from authsvc.web.bearer import bearer_token
from authsvc.web.body import Body, read, takes
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

admin = Blueprint("admin", __name__)


class LoginBody(Body):
    username = fields.String(required=True, validate=Length(min=1))
    password = fields.String(required=True, validate=Length(min=1))


class RegisterBody(LoginBody):
    email = fields.String(required=True, validate=Length(min=1))


class CreateUserBody(RegisterBody):
    permission = fields.Integer(strict=True, load_default=ORDINARY)


class Person(TypedDict):
    id: int
    username: str
    email: str


class PersonOfPermission(Person):
    permission: int
    data: str


class Success(TypedDict):
    message: str
    token: str
    user: Person


class Created(TypedDict):
    message: str
    user: PersonOfPermission


class Failure(TypedDict):
    message: str


LOGIN, REGISTER, CREATE_USER = LoginBody(), RegisterBody(), CreateUserBody()

ERRORS = ErrorTable(
    {
        InvalidCredentials: (401, "用户名或密码错误"),
        Exception: (500, "服务器错误"),
        BadRequest: (400, "请填写所有必需字段"),
        UnsupportedMediaType: (415, "请填写所有必需字段"),
        InvalidUsername: (400, "用户名格式不正确"),
        InvalidEmail: (400, "邮箱格式不正确"),
        InvalidPassword: (400, "密码不符合要求"),
        InvalidPermission: (400, "权限值不正确"),
        UsernameTaken: (409, "用户名已存在"),
        EmailTaken: (409, "邮箱已存在"),
        InvalidToken: (401, "未授权访问"),
        PermissionDenied: (403, "权限不足"),
        NotFound: (404, "接口不存在"),
        MethodNotAllowed: (405, "请求方法不允许"),
        RequestEntityTooLarge: (413, "请求内容过大"),
        TooManyRequests: (429, "请求过于频繁，请稍后再试"),
        TooManyAttempts: (429, "请求过于频繁，请稍后再试"),
        Overloaded: (503, "服务繁忙，请稍后再试"),
    },
    {},
)


def failure(_: BaseException, status: int, sentence: str) -> tuple[Failure, int]:
    return {"message": sentence}, status


def success(sentence: str, user: User, token: str) -> Success:
    return {
        "message": sentence,
        "token": token,
        "user": {"id": user.id, "username": user.username, "email": user.email or ""},
    }


@admin.post("/login")
@hashes
@limited("login", name_field="username")
@takes(LOGIN)
def log_in() -> Success:
    """登录接口。"""
    body = read()
    return success("登录成功", *accounts.log_in(body["username"], body["password"], client()))


@admin.post("/register")
@hashes
@limited("signup")
@takes(REGISTER)
def register() -> tuple[Success, Literal[201]]:
    """注册接口。"""
    body = read()
    new_user = accounts.new_user(body["username"], body["password"], body["email"])
    return success("注册成功", *accounts.sign_up(new_user, client())), 201


@admin.post("/createUser")
@takes(CREATE_USER)
def create_user() -> tuple[Created, Literal[201]]:
    """管理员创建用户接口。"""
    creator = accounts.administrator(bearer_token())
    user = accounts.create_user(creator, accounts.new_user(**read()), client())
    created: PersonOfPermission = {
        "id": user.id,
        "username": user.username,
        "email": user.email or "",
        "permission": user.permission,
        "data": user.data,
    }
    return {"message": "用户创建成功", "user": created}, 201


DIALECT = Dialect("admin", (admin,), ERRORS, failure, title="认证 API - 登录与注册", language="zh")
