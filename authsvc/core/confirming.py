"""Confirmations: a user who is logged in proves once more who they are."""

from contextlib import suppress

from authsvc.core.clients import Client
from authsvc.core.errors import WrongPassword
from authsvc.core.guessing import Guard
from authsvc.core.ports import PasswordHasher
from authsvc.core.users import User, fold, is_storable_password


class _ProvesTooLittle(Exception):
    """The password is right, which alone shows nothing about wrong codes."""


def check_password(hasher: PasswordHasher, user: User, password: str) -> None:
    """Do nothing, if the password is the user's. Nothing is counted.

    Raises:
        WrongPassword, Overloaded
    """
    if not is_storable_password(password) or not hasher.verify(user.password_hash, password):
        raise WrongPassword


def confirm_password(
    hasher: PasswordHasher, guard: Guard, user: User, password: str, client: Client
) -> None:
    """Do nothing, if the password is the user's; the try is counted as a guess.

    For a user of one-time codes a right password is no success that lets the guard forget
    failures: whoever knows it could otherwise guess at codes for ever.

    Raises:
        WrongPassword, TooManyAttempts, SessionsUnavailable, Overloaded
    """
    with (
        hasher.admission(),
        suppress(_ProvesTooLittle),
        guard.attempt(fold(user.username), client),
    ):
        check_password(hasher, user, password)
        if user.totp_on:
            raise _ProvesTooLittle


def require_same_password(stored: User, confirmed: User) -> None:
    """Do nothing, if the password that was confirmed is still the user's.

    Raises:
        WrongPassword: it was changed in the meantime.
    """
    if stored.password_hash != confirmed.password_hash:
        raise WrongPassword
