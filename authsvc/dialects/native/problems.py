"""What can go wrong in this dialect: one registry of codes, with their texts in both languages."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, NotRequired, TypedDict

from flask import Response, json

from authsvc.core import errors as facts
from authsvc.web.body import MalformedBody
from authsvc.web.client import language
from authsvc.web.dialect import ErrorTable
from authsvc.web.errors import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem of RFC 9457: its status, and language → title and detail."""

    status: int
    en: tuple[str, str]
    zh: tuple[str, str]


class FieldFault(TypedDict):
    field: str
    code: str
    detail: str


class ProblemBody(TypedDict):
    type: str
    title: str
    status: int
    detail: str
    code: str
    errors: NotRequired[list[FieldFault]]
    minLength: NotRequired[int]
    reason: NotRequired[str]


PROBLEMS = {
    "malformed_request": Problem(
        400,
        ("Malformed request", "The body is not a JSON object."),
        ("请求格式错误", "请求体不是 JSON 对象。"),
    ),
    "invalid_fields": Problem(
        400,
        ("Invalid fields", "Some fields of the request are not valid."),
        ("字段无效", "请求中的部分字段无效。"),
    ),
    "invalid_username": Problem(
        400,
        ("Invalid user name", "A name has 1 to 64 characters and no control characters."),
        ("用户名无效", "用户名须为 1 到 64 个字符，且不含控制字符。"),
    ),
    "invalid_email": Problem(
        400,
        ("Invalid e-mail address", "This is not an e-mail address."),
        ("邮箱无效", "这不是有效的邮箱地址。"),
    ),
    "invalid_password": Problem(
        400,
        ("Invalid password", "The password breaks the rule for passwords."),
        ("密码不符合要求", "密码不符合密码规则。"),
    ),
    "weak_password": Problem(
        400,
        ("Weak password", "The password is too easy to guess."),
        ("密码太弱", "密码太容易被猜到。"),
    ),
    "invalid_permission": Problem(
        400,
        ("Invalid permission", "A permission is an integer from 0 on."),
        ("权限值无效", "权限值须为不小于 0 的整数。"),
    ),
    "invalid_data": Problem(
        400,
        ("Invalid data", "The data are not JSON of at most 16 KiB."),
        ("数据无效", "数据不是不超过 16 KiB 的 JSON。"),
    ),
    "captcha_rejected": Problem(
        400,
        ("Captcha rejected", "The answer is wrong, or the captcha has expired or was used."),
        ("验证码错误", "验证码答案错误、已过期或已被使用。"),
    ),
    "invalid_captcha_answer": Problem(
        400,
        ("Invalid captcha answer", "The answer is empty or too long."),
        ("验证码答案无效", "验证码答案为空或过长。"),
    ),
    "unknown_language": Problem(
        400,
        ("Unknown language", "No digits are spoken in this language."),
        ("不支持的语言", "没有该语言的语音验证码。"),
    ),
    "invalid_mail_token": Problem(
        400,
        ("Invalid link", "The token of the mail is invalid, expired or was used."),
        ("链接无效", "邮件中的令牌无效、已过期或已被使用。"),
    ),
    "cookies_off": Problem(
        400,
        ("Cookies are off", "This service keeps no tokens in cookies."),
        ("未启用 Cookie", "本服务不在 Cookie 中保存令牌。"),
    ),
    "invalid_credentials": Problem(
        401,
        ("Invalid credentials", "The user name or the password is wrong."),
        ("用户名或密码错误", "用户名或密码错误。"),
    ),
    "totp_required": Problem(
        401,
        ("Code required", "A one-time or recovery code is required."),
        ("需要动态验证码", "请提供动态验证码或恢复码。"),
    ),
    "invalid_code": Problem(
        401,
        ("Invalid code", "The code is wrong or was used before."),
        ("验证码无效", "验证码错误或已被使用。"),
    ),
    "invalid_token": Problem(
        401,
        ("Invalid token", "The access token is missing, invalid or expired."),
        ("令牌无效", "访问令牌缺失、无效或已过期。"),
    ),
    "invalid_refresh_token": Problem(
        401,
        ("Invalid refresh token", "The refresh token is missing, invalid, expired or revoked."),
        ("刷新令牌无效", "刷新令牌缺失、无效、已过期或已被撤销。"),
    ),
    "csrf_rejected": Problem(
        403,
        ("CSRF token missing", "The X-CSRF-Token header does not fit the session's cookie."),
        ("缺少 CSRF 令牌", "X-CSRF-Token 请求头与会话的 Cookie 不符。"),
    ),
    "permission_denied": Problem(
        403,
        ("Permission denied", "You may not do this."),
        ("权限不足", "您无权执行此操作。"),
    ),
    "wrong_password": Problem(
        403,
        ("Wrong password", "The password is wrong."),
        ("密码错误", "密码错误。"),
    ),
    "wrong_code": Problem(
        403,
        ("Wrong code", "The code is wrong or was used before."),
        ("验证码错误", "验证码错误或已被使用。"),
    ),
    "not_found": Problem(
        404,
        ("Not found", "There is nothing at this path."),
        ("接口不存在", "此路径下没有接口。"),
    ),
    "unknown_user": Problem(
        404,
        ("Unknown user", "There is no such user."),
        ("用户不存在", "没有这个用户。"),
    ),
    "unknown_session": Problem(
        404,
        ("Unknown session", "You have no such session."),
        ("会话不存在", "您没有这个会话。"),
    ),
    "unknown_captcha": Problem(
        404,
        ("Unknown captcha", "There is no such captcha, or it has expired or was used."),
        ("验证码不存在", "没有这个验证码，或其已过期或已被使用。"),
    ),
    "proof_of_work_off": Problem(
        404,
        ("Proof of work is off", "This service takes no proof of work."),
        ("未启用工作量证明", "本服务不接受工作量证明。"),
    ),
    "mail_off": Problem(
        404,
        ("Mail is off", "This service sends no mail."),
        ("未启用邮件", "本服务不发送邮件。"),
    ),
    "method_not_allowed": Problem(
        405,
        ("Method not allowed", "This path does not answer this method."),
        ("请求方法不允许", "此路径不支持该请求方法。"),
    ),
    "username_taken": Problem(
        409,
        ("User name taken", "Another user has this name."),
        ("用户名已存在", "该用户名已被使用。"),
    ),
    "email_taken": Problem(
        409,
        ("E-mail address taken", "Another user has this e-mail address."),
        ("邮箱已存在", "该邮箱已被使用。"),
    ),
    "totp_on": Problem(
        409,
        ("One-time codes are on", "One-time codes are on already."),
        ("已启用动态验证码", "动态验证码已经启用。"),
    ),
    "totp_off": Problem(
        409,
        ("One-time codes are off", "One-time codes are not on."),
        ("未启用动态验证码", "动态验证码尚未启用。"),
    ),
    "last_administrator": Problem(
        409,
        ("Last administrator", "No other administrator would be left."),
        ("最后一名管理员", "将没有其他管理员。"),
    ),
    "request_too_large": Problem(
        413,
        ("Request too large", "A body has at most 64 KiB."),
        ("请求内容过大", "请求体最大为 64 KiB。"),
    ),
    "unsupported_media_type": Problem(
        415,
        ("Unsupported media type", "A body is sent as application/json."),
        ("不支持的内容类型", "请求体须为 application/json。"),
    ),
    "too_many_requests": Problem(
        429,
        ("Too many requests", "There were too many requests; try later."),
        ("请求过于频繁", "请求过于频繁，请稍后再试。"),
    ),
    "too_many_captchas": Problem(
        429,
        ("Too many captchas", "You hold too many captchas; use them, or try later."),
        ("验证码过多", "您持有的验证码过多，请使用或稍后再试。"),
    ),
    "too_many_attempts": Problem(
        429,
        ("Too many attempts", "Too many attempts failed; try later."),
        ("尝试次数过多", "失败次数过多，请稍后再试。"),
    ),
    "internal_error": Problem(
        500,
        ("Internal error", "Something went wrong here; it has been logged."),
        ("服务器内部错误", "服务器内部错误，已记录。"),
    ),
    "users_unavailable": Problem(
        503,
        ("Users unavailable", "The database does not answer; try later."),
        ("用户数据不可用", "数据库无响应，请稍后再试。"),
    ),
    "sessions_unavailable": Problem(
        503,
        ("Sessions unavailable", "The store of sessions does not answer; try later."),
        ("会话不可用", "会话存储无响应，请稍后再试。"),
    ),
    "captchas_unavailable": Problem(
        503,
        ("Captchas unavailable", "The store of captchas does not answer; try later."),
        ("验证码不可用", "验证码存储无响应，请稍后再试。"),
    ),
    "overloaded": Problem(
        503,
        ("Overloaded", "More work waits than can be done in time; try later."),
        ("服务繁忙", "服务繁忙，请稍后再试。"),
    ),
}

FAULTS = {
    "required": ("This field is required.", "此字段必填。"),
    "null": ("This field must not be null.", "此字段不能为 null。"),
    "wrong_type": ("This field has the wrong type.", "此字段类型错误。"),
    "empty": ("This field must not be empty.", "此字段不能为空。"),
    "too_long": ("This field is too long.", "此字段过长。"),
    "out_of_range": ("This number is out of range.", "数值超出范围。"),
    "not_a_choice": ("This is none of the choices.", "不是可选值之一。"),
    "unknown_field": ("This field is not known.", "未知字段。"),
    "malformed": ("This field is malformed.", "此字段格式错误。"),
}

ERRORS = ErrorTable(
    {
        BadRequest: ("malformed_request",),
        MalformedBody: ("malformed_request",),
        facts.InvalidUsername: ("invalid_username",),
        facts.InvalidEmail: ("invalid_email",),
        facts.InvalidPassword: ("invalid_password",),
        facts.WeakPassword: ("weak_password",),
        facts.InvalidPermission: ("invalid_permission",),
        facts.InvalidData: ("invalid_data",),
        facts.CaptchaRejected: ("captcha_rejected",),
        facts.InvalidCaptchaAnswer: ("invalid_captcha_answer",),
        facts.UnknownLanguage: ("unknown_language",),
        facts.InvalidMailToken: ("invalid_mail_token",),
        facts.CookiesOff: ("cookies_off",),
        facts.InvalidCredentials: ("invalid_credentials",),
        facts.SecondFactorRequired: ("totp_required",),
        facts.InvalidCode: ("invalid_code",),
        facts.InvalidToken: ("invalid_token",),
        facts.InvalidRefreshToken: ("invalid_refresh_token",),
        facts.CsrfRejected: ("csrf_rejected",),
        facts.PermissionDenied: ("permission_denied",),
        facts.WrongPassword: ("wrong_password",),
        facts.WrongCode: ("wrong_code",),
        NotFound: ("not_found",),
        facts.UnknownUser: ("unknown_user",),
        facts.UnknownSession: ("unknown_session",),
        facts.UnknownCaptcha: ("unknown_captcha",),
        facts.ProofOfWorkOff: ("proof_of_work_off",),
        facts.MailOff: ("mail_off",),
        MethodNotAllowed: ("method_not_allowed",),
        facts.UsernameTaken: ("username_taken",),
        facts.EmailTaken: ("email_taken",),
        facts.SecondFactorOn: ("totp_on",),
        facts.SecondFactorOff: ("totp_off",),
        facts.LastAdministrator: ("last_administrator",),
        RequestEntityTooLarge: ("request_too_large",),
        UnsupportedMediaType: ("unsupported_media_type",),
        TooManyRequests: ("too_many_requests",),
        facts.TooManyCaptchas: ("too_many_captchas",),
        facts.TooManyAttempts: ("too_many_attempts",),
        Exception: ("internal_error",),
        facts.UsersUnavailable: ("users_unavailable",),
        facts.SessionsUnavailable: ("sessions_unavailable",),
        facts.CaptchasUnavailable: ("captchas_unavailable",),
        facts.Overloaded: ("overloaded",),
    },
    {},
)


def failure(error: BaseException, code: str) -> Annotated[Response, ProblemBody]:
    """A problem of RFC 9457, in the language that the client reads."""
    faults = error.faults if isinstance(error, MalformedBody) else {}
    code, spoken = "invalid_fields" if faults else code, language()
    problem = PROBLEMS[code]
    title, detail = problem.zh if spoken == "zh" else problem.en
    body = {
        "type": f"urn:authsvc:problem:{code}",
        "title": title,
        "status": problem.status,
        "detail": detail,
        "code": code,
        **_members(error, faults, spoken),
    }
    # A field may be named by half of a surrogate pair, which only JSON's own escape can write.
    content = json.dumps(body).encode("utf-8", "backslashreplace")
    response = Response(content, problem.status, mimetype="application/problem+json")
    response.headers["Content-Language"] = spoken
    response.vary.add("Accept-Language")
    return response


def _members(error: BaseException, faults: dict[str, list[str]], spoken: str) -> dict[str, Any]:
    if isinstance(error, facts.WeakPassword):
        return {"reason": error.reason}
    if isinstance(error, facts.InvalidPassword):
        return {"minLength": error.min_length}
    return {"errors": list(_worded(faults, spoken))} if faults else {}


def _worded(faults: dict[str, list[str]], spoken: str) -> Iterator[dict[str, str]]:
    for field, codes in faults.items():
        for code in codes:
            yield {"field": field, "code": code, "detail": FAULTS[code][spoken == "zh"]}
