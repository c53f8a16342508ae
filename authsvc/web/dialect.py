"""What a dialect page is made of, and the use cases that it calls."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from flask import Blueprint, current_app
from flask.typing import ResponseReturnValue
from werkzeug.local import LocalProxy

from authsvc.core.accounts import Accounts
from authsvc.core.administration import Administration
from authsvc.core.audit import AuditLog
from authsvc.core.captchas import Captchas
from authsvc.core.password_strength import Passwords
from authsvc.core.ports import TokenIssuer
from authsvc.core.profile import Profile
from authsvc.core.recovery import Recovery
from authsvc.core.second_factor import SecondFactor
from authsvc.core.sessions import Sessions

Row = tuple[Any, ...]
"""A status and whatever else the dialect's `failure` needs to word it."""


@dataclass(frozen=True, slots=True)
class ErrorTable:
    """A document's errors: exception class → row.

    Args:
        rows: the rows that hold for every operation.
        by_operation: operation (a view's name) → rows that hold there only.
    """

    rows: Mapping[type[BaseException], Row]
    by_operation: Mapping[str, Mapping[type[BaseException], Row]]

    def row(self, error: BaseException, operation: str | None) -> Row:
        """Return the row of the nearest class in the error's MRO, the operation's own first."""
        return self.row_of(type(error), operation)

    def row_of(self, fact: type[BaseException], operation: str | None) -> Row:
        """Return the row that an error of this class would get; see `row`."""
        special = self.by_operation.get(operation or "", {})
        for kind in fact.__mro__:
            if row := special.get(kind) or self.rows.get(kind):
                return row
        raise LookupError(f"no row for {fact.__name__}")

    def answering(self, status: int, *operations: str) -> "ErrorTable":
        """Return a table by which these operations answer every failure with one HTTP status.

        What belongs to no operation, an unknown path or method, keeps its own.
        """
        rows = {
            operation: {
                fact: (status, *row[1:])
                for fact, row in {**self.rows, **self.by_operation.get(operation, {})}.items()
            }
            for operation in operations
        }
        return replace(self, by_operation={**self.by_operation, **rows})


@dataclass(frozen=True, slots=True)
class Dialect:
    """A document, as code.

    Args:
        name: the word for it in the table of mounts.
        blueprints: its operations.
        errors: its table of errors; `Exception` must have a row.
        failure: words one row: called with the error and the row's items.
        title: what the document is called.
        language: the one that it is written in, `en` or `zh`.
        sign_up_captcha: whether its sign-up has a place for a captcha.
        captcha_setting: the setting that asks for that captcha.
        sign_up_setting: the setting that opens its sign-up; None where that is always open.
        longest_password: in characters, the longest that its frontend sends; None for any.
    """

    name: str
    blueprints: tuple[Blueprint, ...]
    errors: ErrorTable
    failure: Callable[..., ResponseReturnValue]
    title: str = ""
    language: str = "en"
    sign_up_captcha: bool = False
    captcha_setting: str = "signup_captcha"
    sign_up_setting: str | None = None
    longest_password: int | None = None


@dataclass(frozen=True, slots=True)
class UseCases:
    """The core, as one application holds it. `keys`: the signing keys, for the operator."""

    accounts: Accounts
    captchas: Captchas
    sessions: Sessions
    profile: Profile
    second_factor: SecondFactor
    recovery: Recovery
    administration: Administration
    passwords: Passwords
    audit: AuditLog
    tokens: TokenIssuer
    keys: Any


def use_cases() -> UseCases:
    """Return the use cases of the application that is answering."""
    return cast(UseCases, current_app.extensions["authsvc"])


accounts = cast(Accounts, LocalProxy(lambda: use_cases().accounts))
administration = cast(Administration, LocalProxy(lambda: use_cases().administration))
audit = cast(AuditLog, LocalProxy(lambda: use_cases().audit))
captchas = cast(Captchas, LocalProxy(lambda: use_cases().captchas))
passwords = cast(Passwords, LocalProxy(lambda: use_cases().passwords))
profile = cast(Profile, LocalProxy(lambda: use_cases().profile))
recovery = cast(Recovery, LocalProxy(lambda: use_cases().recovery))
second_factor = cast(SecondFactor, LocalProxy(lambda: use_cases().second_factor))
sessions = cast(Sessions, LocalProxy(lambda: use_cases().sessions))
