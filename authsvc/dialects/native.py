"""The service's own document: what an application needs beyond the others, under /v1."""

from http import HTTPStatus

from flask import Blueprint, Response, json, request

from authsvc.core.captchas import SIGN_UP
from authsvc.core.errors import (
    CaptchasUnavailable,
    Overloaded,
    ProofOfWorkOff,
    TooManyCaptchas,
    UnknownCaptcha,
    UnknownLanguage,
)
from authsvc.web.client import client_network
from authsvc.web.dialect import Dialect, ErrorTable, captchas
from authsvc.web.errors import (
    BadRequest,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    TooManyRequests,
    UnsupportedMediaType,
)
from authsvc.web.limits import limited

native = Blueprint("native", __name__)

ERRORS = ErrorTable(
    {
        BadRequest: (400, "malformed_request"),
        UnknownLanguage: (400, "unknown_language"),
        NotFound: (404, "not_found"),
        UnknownCaptcha: (404, "unknown_captcha"),
        ProofOfWorkOff: (404, "proof_of_work_off"),
        MethodNotAllowed: (405, "method_not_allowed"),
        RequestEntityTooLarge: (413, "request_too_large"),
        UnsupportedMediaType: (415, "unsupported_media_type"),
        TooManyRequests: (429, "too_many_requests"),
        TooManyCaptchas: (429, "too_many_captchas"),
        Exception: (500, "internal_error"),
        CaptchasUnavailable: (503, "captchas_unavailable"),
        Overloaded: (503, "overloaded"),
    },
    {},
)


def failure(_: BaseException, status: int, code: str) -> Response:
    """A problem of RFC 9457."""
    problem = {"title": HTTPStatus(status).phrase, "status": status, "code": code}
    return Response(json.dumps(problem), status, mimetype="application/problem+json")


@native.get("/captcha")
@limited("captcha")
def issue_captcha() -> dict[str, str]:
    return {"captchaId": captchas.issue(SIGN_UP, client_network())}


@native.get("/captcha/<captcha_id>")
@limited("captcha", scope="captcha_image")
def captcha_image(captcha_id: str) -> Response:
    return Response(captchas.image(captcha_id), mimetype="image/png")


@native.get("/captcha/<captcha_id>/audio")
@limited("captcha_audio")
def captcha_audio(captcha_id: str) -> Response:
    language = request.args.get("lang", "en")
    return Response(captchas.audio(captcha_id, language), mimetype="audio/wav")


@native.get("/captcha/pow")
@limited("captcha")
def proof_of_work() -> dict[str, object]:
    return captchas.work(SIGN_UP)


DIALECT = Dialect("native", (native,), ERRORS, failure, sign_up_captcha=True)
