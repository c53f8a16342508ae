"""Whose request it is: the access token of a header, or of a cookie."""

from authsvc.core.sessions import Identity
from authsvc.web import cookies
from authsvc.web.bearer import bearer_token
from authsvc.web.dialect import accounts, sessions


def identity() -> Identity:
    token = cookies.access_token()
    if token is None:
        return sessions.who_is(bearer_token())
    who = sessions.who_is(token)
    cookies.check_page(who.session_id)
    return who


def administrator() -> Identity:
    who = identity()
    accounts.require_administrator(who.user)
    return who
