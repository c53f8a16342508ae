"""Users of another service who are to be users of this one."""

from dataclasses import dataclass, field, replace
from typing import Protocol

from authsvc.core.accounts import ORDINARY, Accounts
from authsvc.core.errors import InvalidPasswordHash, InvalidPermission
from authsvc.core.ports import PasswordHasher
from authsvc.core.users import (
    NO_DATA,
    NewUser,
    check_data,
    check_email,
    fold,
    normalise_username,
)


class ImportingHasher(PasswordHasher, Protocol):
    """A hasher that also verifies hashes which were made elsewhere."""

    def is_known(self, password_hash: str) -> bool:
        """Tell whether a hash that was made elsewhere can be verified here."""


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A user of another service.

    Args:
        username: the name.
        password: the password; None where there is only a hash of it.
        password_hash: the hash; None where there is the password.
        email: the address; None for a user without one.
        email_verified: whether the user is known to read mail there.
        permission: 0 for an ordinary user.
        data: JSON text that belongs to the application.
        disabled: whether the user may do nothing.
    """

    username: str
    password: str | None = field(default=None, repr=False)
    password_hash: str | None = field(default=None, repr=False)
    email: str | None = None
    email_verified: bool = False
    permission: int = ORDINARY
    data: str = NO_DATA
    disabled: bool = False


def checked(newcomer: Newcomer, accounts: Accounts, hasher: ImportingHasher) -> NewUser:
    """Check what a user is to be made of; nothing is looked up, hashed or stored.

    Raises:
        InvalidUsername, InvalidEmail, InvalidPassword, InvalidPermission, InvalidData
        InvalidPasswordHash: there is no password, and the hash cannot be verified here.
    """
    if newcomer.password is None:
        new_user = _with_hash(newcomer, hasher)
    else:
        new_user = accounts.new_user(
            newcomer.username,
            newcomer.password,
            newcomer.email,
            newcomer.permission,
            newcomer.data,
        )
    verified = newcomer.email_verified and newcomer.email is not None
    return replace(new_user, email_verified=verified, disabled=newcomer.disabled)


def _with_hash(newcomer: Newcomer, hasher: ImportingHasher) -> NewUser:
    name = normalise_username(newcomer.username)
    email = None if newcomer.email is None else check_email(newcomer.email)
    if not (newcomer.password_hash and hasher.is_known(newcomer.password_hash)):
        raise InvalidPasswordHash
    if newcomer.permission < ORDINARY:
        raise InvalidPermission
    return NewUser(
        username=name,
        username_key=fold(name),
        email=email,
        email_key=None if email is None else fold(email),
        permission=newcomer.permission,
        password="",
        data=check_data(newcomer.data),
    )
