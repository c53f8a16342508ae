"""What the commands ask of an operator, and how they say what went wrong."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import click

from authsvc.core.errors import (
    AuthError,
    EmailTaken,
    InvalidData,
    InvalidEmail,
    InvalidPassword,
    InvalidPasswordHash,
    InvalidPermission,
    InvalidUsername,
    LastAdministrator,
    Overloaded,
    SecondFactorOff,
    Unavailable,
    UnknownUser,
    UsernameTaken,
    WeakPassword,
)
from authsvc.core.users import User
from authsvc.settings import USER_PASSWORD
from authsvc.web.dialect import use_cases

_BY_ID = re.compile("#([1-9][0-9]{0,17})")
_SENTENCES: Mapping[type[AuthError], str] = {
    InvalidUsername: "A name has 1 to 64 characters and no control characters.",
    InvalidEmail: "That is not an e-mail address.",
    InvalidPermission: "A permission is an integer from 0 on.",
    InvalidData: "The data are larger than 16 KiB, or are not text.",
    InvalidPasswordHash: "The password hash was not made by anything known here, or is too costly.",
    UsernameTaken: "There is a user of that name already.",
    EmailTaken: "There is a user with that e-mail address already.",
    UnknownUser: "There is no such user.",
    SecondFactorOff: "No codes are asked for.",
    LastAdministrator: "Nobody would be left who can administer.",
    Unavailable: "The database does not answer; run the migrations first, or start it.",
    Overloaded: "The machine is too busy to hash the password now; try again.",
}
_WEAK = {
    "common": "That password is one of those that people use most.",
    "username": "That password is made of the user name.",
    "email": "That password is made of the e-mail address.",
}


@contextmanager
def plain_errors() -> Iterator[None]:
    """Let a command that fails say so in one sentence, and exit with status 1."""
    try:
        yield
    except AuthError as error:
        raise click.ClickException(sentence_of(error)) from None


def sentence_of(error: AuthError) -> str:
    """Return what an operator should know of an error."""
    if isinstance(error, WeakPassword):
        return _WEAK[error.reason]
    if isinstance(error, InvalidPassword):
        return f"A password has at least {error.min_length} characters and at most 1024 bytes."
    return next(text for kind, text in _SENTENCES.items() if isinstance(error, kind))


def password_given(from_stdin: bool) -> str:
    """Return a password from standard input, else from the environment, else asked for."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    return os.environ.get(USER_PASSWORD) or ask_password()


def ask_password() -> str:
    """Ask for a password, twice, without showing it."""
    password: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def id_given(text: str) -> int | None:
    """Return the id of `#12`; None for anything else."""
    found = _BY_ID.fullmatch(text)
    return int(found[1]) if found else None


def user_given(text: str) -> User:
    """Return the user of a name, or of an id such as `#12`.

    Raises:
        UnknownUser, UsersUnavailable
    """
    administration, user_id = use_cases().administration, id_given(text)
    try:
        return administration.named(text) if user_id is None else administration.get(user_id)
    except InvalidUsername:
        raise UnknownUser from None
