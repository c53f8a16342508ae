"""Sessions: `/signup`, `/login`, `/token/refresh`, `/logout`, `/me/sessions…`, `/introspect`."""

from typing import Annotated, Any, Literal, NotRequired, TypedDict, cast

from flask import Blueprint, Response, jsonify
from marshmallow import fields

from authsvc.core.captchas import ANSWER_MAX_BYTES, SIGN_UP
from authsvc.core.errors import InvalidRefreshToken
from authsvc.core.ports import Session
from authsvc.core.second_factor import CODE_MAX_LENGTH
from authsvc.core.sessions import Identity, Inspection, Tokens
from authsvc.core.users import EMAIL_MAX_LENGTH, PASSWORD_MAX_BYTES, USERNAME_MAX_LENGTH
from authsvc.dialects.native.bodies import FAULTS, Flag, StrictBody, choice, text
from authsvc.dialects.native.shapes import UserShape, moment, user_shape
from authsvc.dialects.native.tokens import identity
from authsvc.web import cookies
from authsvc.web.admission import hashes
from authsvc.web.answers import Nothing
from authsvc.web.body import FORM, Body, read, read_form, receive, takes
from authsvc.web.client import client, client_network
from authsvc.web.client_credentials import client_is_known, proves_itself_twice
from authsvc.web.dialect import accounts, captchas, sessions
from authsvc.web.limits import limited

session = Blueprint("native_session", __name__)

LOCAL, OTHERS, GLOBAL = "local", "others", "global"
ID_MAX_LENGTH = 64
TOKEN_MAX_LENGTH = 8192


class LoginBody(StrictBody):
    username = text(EMAIL_MAX_LENGTH)
    password = text(PASSWORD_MAX_BYTES)
    code = text(CODE_MAX_LENGTH, required=False, load_default=None)
    cookies = Flag(load_default=False)


class SignupBodyWithoutCaptcha(StrictBody):
    username = text(USERNAME_MAX_LENGTH)
    password = text(PASSWORD_MAX_BYTES)
    email = text(EMAIL_MAX_LENGTH, required=False, load_default=None, allow_none=True)
    cookies = Flag(load_default=False)


class SignupBody(SignupBodyWithoutCaptcha):
    captchaId = text(ID_MAX_LENGTH)
    value = text(ANSWER_MAX_BYTES)


class RefreshBody(StrictBody):
    refreshToken = text(TOKEN_MAX_LENGTH, required=False, load_default=None)


class LogoutBody(StrictBody):
    scope = choice(LOCAL, OTHERS, GLOBAL, default=LOCAL)


class TokenForm(Body):
    token = fields.String(required=True, error_messages=FAULTS)
    token_type_hint = fields.String(error_messages=FAULTS)
    client_id = fields.String(error_messages=FAULTS)
    client_secret = fields.String(error_messages=FAULTS)


class Granted(TypedDict):
    accessToken: NotRequired[str]
    refreshToken: NotRequired[str]
    tokenType: Literal["Bearer"]
    expiresIn: int


class LoggedIn(Granted):
    user: UserShape


class SessionShape(TypedDict):
    id: str
    createdAt: str
    lastUsedAt: str
    address: str
    userAgent: str
    current: bool


class Sessions(TypedDict):
    sessions: list[SessionShape]


class Introspection(TypedDict):
    active: bool
    sub: NotRequired[str]
    username: NotRequired[str]
    token_type: NotRequired[str]
    exp: NotRequired[int]
    iat: NotRequired[int]
    iss: NotRequired[str]
    jti: NotRequired[str]
    sid: NotRequired[str]


class OAuthError(TypedDict):
    error: str


INVALID_CLIENT: OAuthError = {"error": "invalid_client"}
INVALID_REQUEST: OAuthError = {"error": "invalid_request"}

LOGIN, SIGNUP, SIGNUP_WITHOUT_CAPTCHA = LoginBody(), SignupBody(), SignupBodyWithoutCaptcha()
REFRESH, LOGOUT, INTROSPECT = RefreshBody(), LogoutBody(), TokenForm()


def granted(tokens: Tokens, *, in_cookies: bool, **also: Any) -> Response:
    """The tokens, in the body (as RFC 6749, section 5.1, has them) or in cookies."""
    body: dict[str, Any] = {"tokenType": "Bearer", "expiresIn": tokens.expires_in}
    if in_cookies:
        response = jsonify({**body, **also})
        cookies.keep(response, tokens)
        return response
    secret = {"accessToken": tokens.access_token, "refreshToken": tokens.refresh_token}
    return jsonify({**secret, **body, **also})


def session_shape(kept: Session, current: str) -> SessionShape:
    return {
        "id": kept.id,
        "createdAt": moment(kept.created_at),
        "lastUsedAt": moment(kept.last_used_at),
        "address": kept.address,
        "userAgent": kept.user_agent,
        "current": kept.id == current,
    }


def introspection(found: Inspection | None) -> Introspection:
    """What RFC 7662, section 2.2, says of a token."""
    if found is None:
        return {"active": False}
    known = {
        "sub": str(found.user.id),
        "username": found.user.username,
        "token_type": "Bearer" if found.kind == "access" else "refresh_token",
        "exp": found.expires_at,
        "iat": found.issued_at,
        "iss": found.issuer,
        "jti": found.token_id,
        "sid": found.session_id,
    }
    told = {name: value for name, value in known.items() if value is not None}
    return cast(Introspection, {"active": True, **told})


def sent_refresh_token() -> tuple[str, bool]:
    """The refresh token, and whether it came in a cookie, whose page is then checked."""
    given = read()["refreshToken"]
    if given is not None:
        return given, False
    kept = cookies.refresh_token()
    if kept is None:
        raise InvalidRefreshToken
    cookies.check_page(sessions.session_of(kept))
    return kept, True


def close(who: Identity, scope: str) -> None:
    if scope == LOCAL:
        sessions.close_own(who)
    elif scope == OTHERS:
        sessions.close_others(who)
    else:
        sessions.close_all(who.user.id)


@session.post("/signup")
@hashes
@limited("signup")
@takes(SIGNUP, without_captcha=SIGNUP_WITHOUT_CAPTCHA)
def sign_up() -> tuple[Annotated[Response, LoggedIn], Literal[201]]:
    """Sign up, and begin a session."""
    body = read()
    new_user = accounts.new_user(body["username"], body["password"], body["email"], strict=True)
    if body["cookies"]:
        cookies.require_allowed()
    if captchas.is_required(SIGN_UP):
        captchas.redeem(body["captchaId"], body["value"], SIGN_UP, client_network())
    user, tokens = accounts.sign_up_renewably(new_user, client())
    return granted(tokens, in_cookies=body["cookies"], user=user_shape(user)), 201


@session.post("/login")
@hashes
@limited("login", name_field="username")
@takes(LOGIN)
def log_in() -> Annotated[Response, LoggedIn]:
    """Log in: begin a session."""
    body = read()
    if body["cookies"]:
        cookies.require_allowed()
    user, tokens = accounts.log_in_renewably(
        body["username"], body["password"], body["code"], client()
    )
    return granted(tokens, in_cookies=body["cookies"], user=user_shape(user))


@session.post("/token/refresh")
@limited("refresh")
@takes(REFRESH, optional=True)
def refresh() -> Annotated[Response, Granted]:
    """Exchange the refresh token for new tokens."""
    token, in_cookies = sent_refresh_token()
    return granted(sessions.refresh(token, client()), in_cookies=in_cookies)


@session.post("/logout")
@takes(LOGOUT, optional=True)
def log_out() -> Nothing:
    """Log out: end this session, all others, or all."""
    who = identity()
    scope = read()["scope"]
    close(who, scope)
    response = Response(status=204)
    if scope != OTHERS:
        cookies.forget(response)
    return response


@session.get("/me/sessions")
def list_sessions() -> Sessions:
    """List the live sessions of whoever is logged in."""
    who = identity()
    return {"sessions": [session_shape(kept, who.session_id) for kept in sessions.of(who.user)]}


@session.delete("/me/sessions/<session_id>")
def end_session(session_id: str) -> Nothing:
    """End one of these sessions."""
    who = identity()
    sessions.close(who.user, session_id)
    response = Response(status=204)
    if session_id == who.session_id:
        cookies.forget(response)
    return response


@session.post("/introspect")
@takes(INTROSPECT, FORM)
def introspect() -> (
    Introspection
    | tuple[OAuthError, Literal[400]]
    | tuple[OAuthError, Literal[401], dict[str, str]]
):
    """Tell another service about a token (RFC 7662)."""
    receive()
    if proves_itself_twice():
        return INVALID_REQUEST, 400
    if not client_is_known():
        return INVALID_CLIENT, 401, {"WWW-Authenticate": "Basic"}
    asked = read_form()
    if asked is None:
        return INVALID_REQUEST, 400
    return introspection(sessions.inspect(asked["token"]))
