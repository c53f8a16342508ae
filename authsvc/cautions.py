"""What an operator should know about settings that are allowed."""

import sys
from collections.abc import Iterator

from authsvc.core.captchas import ALPHABETS, DIGITS
from authsvc.dialects import REGISTRY
from authsvc.infra import traces
from authsvc.settings import PREFIX, Settings
from authsvc.web.dialect import Dialect

_WITHOUT_DOCSTRINGS = 2
"""What -OO makes of `sys.flags.optimize`."""


def cautions(settings: Settings) -> list[str]:
    """Return what an operator should know about these settings, a sentence each."""
    told = _anywhere(settings) | (_in_production(settings) if settings.in_production else {})
    return [sentence for sentence, holds in told.items() if holds]


def _anywhere(settings: Settings) -> dict[str, bool]:
    """Return what is said in every environment, each sentence with whether it holds."""
    too_short = ", ".join(_mounts_whose_passwords_are_too_short(settings))
    return {
        f"{PREFIX}CAPTCHA_TEST_VALUE is set: it solves every captcha.": (
            settings.captcha_test_value is not None
        ),
        f"{PREFIX}CAPTCHA_ALPHABET is digits: machines read and guess such captchas more easily.": (
            ALPHABETS[settings.captcha_alphabet] == DIGITS
        ),
        f"{PREFIX}PASSWORD_MIN_LENGTH is more than the frontend of {too_short} lets anyone type:"
        " nobody can sign up there.": bool(too_short),
        "Python runs with -OO: the OpenAPI documents lack what docstrings say.": (
            sys.flags.optimize >= _WITHOUT_DOCSTRINGS
        ),
        f"{PREFIX}GUESS_LIMIT is off: passwords can be guessed freely.": not settings.guess_limit,
        f"{traces.ENDPOINT} is set, but no traces are sent: opentelemetry is not installed.": (
            traces.is_wanted() and not traces.is_installed()
        ),
    }


def _in_production(settings: Settings) -> dict[str, bool]:
    """Return what is said in production alone, each sentence with whether it holds."""
    unguarded = ", ".join(_mounts_that_sign_up_unguarded(settings))
    without_mail = any(mount.dialect == "native" for mount in settings.mounts)
    return {
        f"anyone signs up without a captcha through {unguarded}.": bool(unguarded),
        f"no mail is sent: {PREFIX}SMTP_URL is not set.": without_mail and not settings.sends_mail,
        f"{PREFIX}PUBLIC_URL is not https: who sees the traffic can use the links in mails.": (
            (settings.public_url or "").startswith("http:")
        ),
        f"{PREFIX}RATELIMIT_ENABLED is off: anyone may ask as often as they like.": (
            not settings.ratelimit_enabled
        ),
    }


def _mounts_whose_passwords_are_too_short(settings: Settings) -> Iterator[str]:
    for mount in settings.mounts:
        longest = REGISTRY[mount.dialect].longest_password
        if longest is not None and longest < settings.password_min_length:
            yield str(mount)


def _mounts_that_sign_up_unguarded(settings: Settings) -> Iterator[str]:
    for mount in settings.mounts:
        if _signs_up_unguarded(REGISTRY[mount.dialect], settings):
            yield str(mount)


def _signs_up_unguarded(dialect: Dialect, settings: Settings) -> bool:
    is_open = dialect.sign_up_setting is None or getattr(settings, dialect.sign_up_setting)
    return is_open and not (dialect.sign_up_captcha and getattr(settings, dialect.captcha_setting))
