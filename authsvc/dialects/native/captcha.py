"""Captchas: `/captcha…`."""

from flask import Blueprint, Response

from authsvc.core.captchas import SIGN_UP
from authsvc.web.body import parameters
from authsvc.web.client import client_network
from authsvc.web.dialect import captchas
from authsvc.web.limits import limited

captcha = Blueprint("native_captcha", __name__)


@captcha.get("/captcha")
@limited("captcha")
def issue_captcha() -> dict[str, str]:
    return {"captchaId": captchas.issue(SIGN_UP, client_network())}


@captcha.get("/captcha/<captcha_id>")
@limited("captcha", scope="captcha_image")
def captcha_image(captcha_id: str) -> Response:
    return Response(captchas.image(captcha_id), mimetype="image/png")


@captcha.get("/captcha/<captcha_id>/audio")
@limited("captcha_audio")
def captcha_audio(captcha_id: str) -> Response:
    language = parameters().get("lang", "en")
    return Response(captchas.audio(captcha_id, language), mimetype="audio/wav")


@captcha.get("/captcha/pow")
@limited("captcha")
def proof_of_work() -> dict[str, object]:
    return captchas.work(SIGN_UP)
