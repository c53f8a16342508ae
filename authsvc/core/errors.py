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


class WeakPassword(InvalidPassword):
    """The password is one that others guess first.

    `reason` is `common`, `username` or `email`.
    """

    def __init__(self, min_length: int, reason: str) -> None:
        super().__init__(min_length)
        self.args = (min_length, reason)
        self.reason = reason


class InvalidPermission(InvalidInput):
    """The permission is not an integer of at least zero."""

    field = "permission"


class InvalidData(InvalidInput):
    """The application's data are larger than 16 KiB of JSON text, or not text at all."""

    field = "data"


class InvalidPasswordHash(InvalidInput):
    """The hash was not made by anything known here, or costs more than a log-in may."""

    field = "passwordHash"


class InvalidCaptchaAnswer(InvalidInput):
    """The answer to a captcha is empty or larger than an answer may be."""

    field = "answer"


class UsernameTaken(AuthError):
    """Another user has this name, in some spelling."""


class SignUpClosed(AuthError):
    """Nobody may sign up for themselves here."""


class EmailTaken(AuthError):
    """Another user has this e-mail address, and nobody has the name."""


class InvalidCredentials(AuthError):
    """No user has this name and this password."""


class UserDisabled(InvalidCredentials):
    """The name and the password are right, but the user may do nothing."""


class InvalidCode(InvalidCredentials):
    """The name and the password are right, the one-time or recovery code is not."""


class SecondFactorRequired(AuthError):
    """The name and the password are right; a one-time or recovery code must come along."""


class WrongPassword(AuthError):
    """The password that confirms a change is not the user's."""


class WrongCode(AuthError):
    """The code that confirms a change is not one of the user's, or was used before."""


class InvalidToken(AuthError):
    """The access token is missing, malformed, forged, expired or revoked."""


class InvalidRefreshToken(AuthError):
    """The refresh token is malformed, forged, expired, revoked, or was replayed too late."""


class InvalidMailToken(AuthError):
    """The token of a mail is malformed, expired or used."""


class CsrfRejected(AuthError):
    """A request that carries its token in a cookie does not prove which page sent it."""


class PermissionDenied(AuthError):
    """The token's user may not do this."""


class LastAdministrator(AuthError):
    """Nobody would be left who can administer."""


class UnknownUser(AuthError):
    """No user has this id."""


class UnknownSession(AuthError):
    """The user has no live session of this id."""


class SecondFactorOn(AuthError):
    """One-time codes are asked for already."""


class SecondFactorOff(AuthError):
    """No one-time codes are asked for, or none are being set up."""


class MailOff(AuthError):
    """The service sends no mail."""


class CookiesOff(AuthError):
    """The service keeps no tokens in cookies."""


class TooManyAttempts(AuthError):
    """Too many guesses failed; the next may be made in `retry_after` seconds.

    `free`: how many failures were free, in the counter that asks to wait.
    """

    def __init__(self, retry_after: int, free: int) -> None:
        super().__init__(retry_after, free)
        self.retry_after = retry_after
        self.free = free


class CaptchaRejected(AuthError):
    """The answer is wrong, or the captcha unknown, expired or used."""


class CaptchaExpired(CaptchaRejected):
    """There is nothing to answer: unknown, expired, used, or issued for another purpose."""


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


class Unsealable(AuthError):
    """A stored secret was sealed with another key or for another purpose, or tampered with."""


class Unavailable(AuthError):
    """Something outside that the use case needs did not answer in time."""


class UsersUnavailable(Unavailable):
    """The store of users did not answer."""


class SessionsUnavailable(Unavailable):
    """The store of sessions did not answer."""


class GuessesUnavailable(SessionsUnavailable):
    """The store that counts guesses, which is that of the sessions, did not answer."""


class CaptchasUnavailable(Unavailable):
    """The store of captchas did not answer."""


class Overloaded(AuthError):
    """More work waits than can be done in time; try again in `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after)
        self.retry_after = retry_after
