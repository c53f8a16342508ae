"""Captchas: `/captcha…`."""

from typing import TypedDict, cast

from flask import Blueprint, Response
from marshmallow import fields

from authsvc.core.captchas import SIGN_UP
from authsvc.web.answers import Png, Wav
from authsvc.web.body import QUERY, Body, read_query, takes
from authsvc.web.client import client_network
from authsvc.web.dialect import captchas
from authsvc.web.limits import limited

captcha = Blueprint("native_captcha", __name__)


class AudioQuery(Body):
    lang = fields.String(load_default="en")


class CaptchaId(TypedDict):
    captchaId: str


class Puzzle(CaptchaId):
    algorithm: str
    challenge: str
    maxnumber: int
    salt: str
    signature: str


AUDIO = AudioQuery()


@captcha.get("/captcha")
@limited("captcha")
def issue_captcha() -> CaptchaId:
    """Issue a captcha."""
    return {"captchaId": captchas.issue(SIGN_UP, client_network())}


@captcha.get("/captcha/<captcha_id>")
@limited("captcha", scope="captcha_image")
def captcha_image(captcha_id: str) -> Png:
    """Show a captcha."""
    return Response(captchas.image(captcha_id), mimetype="image/png")


@captcha.get("/captcha/<captcha_id>/audio")
@limited("captcha_audio")
@takes(AUDIO, QUERY)
def captcha_audio(captcha_id: str) -> Wav:
    """Speak a captcha."""
    return Response(captchas.audio(captcha_id, read_query()["lang"]), mimetype="audio/wav")


@captcha.get("/captcha/pow")
@limited("captcha")
def proof_of_work() -> Puzzle:
    """Issue a puzzle of ALTCHA, whose solution stands for a captcha's answer."""
    return cast(Puzzle, captchas.work(SIGN_UP))
