"""The service's own document, docs/native.md: what an application needs beyond the others."""

from authsvc.dialects.native.account import account
from authsvc.dialects.native.captcha import captcha
from authsvc.dialects.native.problems import ERRORS, failure
from authsvc.dialects.native.recovery import recovery_page
from authsvc.dialects.native.sessions import session
from authsvc.dialects.native.users import users_page
from authsvc.web.dialect import Dialect

DIALECT = Dialect(
    "native",
    (captcha, session, account, recovery_page, users_page),
    ERRORS,
    failure,
    title="The native document",
    sign_up_captcha=True,
)
