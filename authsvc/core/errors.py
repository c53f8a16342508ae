"""What can go wrong, as facts and data.

No sentence of any document stands here: a dialect words each fact in its own
language, along the exception's MRO, so that a page chooses its coarseness by
naming a family or a member.
"""


class AuthError(Exception):
    """The root of every fact that the core states."""


class InvalidInput(AuthError):
    """What was given can never be stored. `field` is the core's name of it."""

    field: str


class InvalidUsername(InvalidInput):
    """The user name is empty, too long, or has a character that no name may have."""

    field = "username"


class InvalidEmail(InvalidInput):
    """The e-mail address is not one, or is longer than 254 characters."""

    field = "email"


class InvalidPassword(InvalidInput):
    """The password breaks the rule for a password that is being set."""

    field = "password"

    def __init__(self, min_length: int) -> None:
        super().__init__(min_length)
        self.min_length = min_length


class InvalidPermission(InvalidInput):
    """The permission is not an integer of at least zero."""

    field = "permission"


class InvalidCaptchaAnswer(InvalidInput):
    """The answer to a captcha is empty or larger than an answer may be."""

    field = "answer"


class UsernameTaken(AuthError):
    """Another user has this name, in some spelling."""


class EmailTaken(AuthError):
    """Another user has this e-mail address, and nobody has the name."""


class InvalidCredentials(AuthError):
    """No user has this name and this password."""


class InvalidToken(AuthError):
    """The access token is missing, malformed, forged, expired or revoked."""


class PermissionDenied(AuthError):
    """The token's user may not do this."""


class CaptchaRejected(AuthError):
    """The answer is wrong, or the captcha unknown, expired or used."""


class UnknownCaptcha(AuthError):
    """No live captcha has this id, so there is nothing to see or to hear."""


class UnknownLanguage(InvalidInput):
    """No digits are spoken in this language."""

    field = "lang"


class TooManyCaptchas(AuthError):
    """The client holds as many live captchas as it may; one ends in `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after


class ProofOfWorkOff(AuthError):
    """The service takes no proof of work."""


class Unavailable(AuthError):
    """Something outside that the use case needs did not answer in time."""


class UsersUnavailable(Unavailable):
    """The store of users did not answer."""


class SessionsUnavailable(Unavailable):
    """The store of sessions did not answer."""


class CaptchasUnavailable(Unavailable):
    """The store of captchas did not answer."""


class Overloaded(AuthError):
    """More work waits than can be done in time; try again in `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after
