"""The settings, as each part of the service takes them."""

from authsvc.core.accounts import Policy
from authsvc.core.captchas import ALPHABETS, CaptchaPolicy
from authsvc.core.guessing import GuessPolicy
from authsvc.core.recovery import RecoveryPolicy
from authsvc.core.sessions import SessionPolicy
from authsvc.infra.connections import PoolOptions
from authsvc.infra.redis import RedisOptions
from authsvc.settings import STRICT, Settings
from authsvc.web.limits import Rates


def accounts(settings: Settings) -> Policy:
    """Return what holds for users."""
    return Policy(
        admin_permission=settings.admin_permission,
        strict_passwords=settings.password_policy == STRICT,
        sends_mail=settings.sends_mail,
        sign_up_open=settings.ruoyi_registration,
    )


def sessions(settings: Settings) -> SessionPolicy:
    """Return how long sessions and their tokens last."""
    return SessionPolicy(
        token_lifetime=settings.token_lifetime,
        refresh_lifetime=settings.refresh_lifetime,
        longest=settings.session_lifetime,
        grace=settings.refresh_grace,
        idle=settings.sliding_idle,
        longest_sliding=settings.sliding_lifetime,
    )


def guesses(settings: Settings) -> GuessPolicy:
    """Return how many wrong passwords are free, and how long the waits after them may get."""
    return GuessPolicy(
        pair=settings.guess_pair,
        address=settings.guess_address,
        name=settings.guess_name,
        window=settings.guess_window,
        longest_wait=settings.guess_longest_wait,
    )


def captchas(settings: Settings) -> CaptchaPolicy:
    """Return what captchas are made of, who needs one, and how long they live."""
    return CaptchaPolicy(
        lifetime=settings.captcha_lifetime,
        alphabet=ALPHABETS[settings.captcha_alphabet],
        most_live=settings.captcha_max_live,
        required=settings.signup_captcha,
        required_to_log_in=settings.ruoyi_captcha,
        test_value=settings.captcha_test_value,
    )


def recovery(settings: Settings) -> RecoveryPolicy:
    """Return whether mail is sent, and how long the links in it work."""
    return RecoveryPolicy(settings.sends_mail, settings.mail_token_lifetime)


def database_pool(settings: Settings) -> PoolOptions:
    """Return how many connections to the database there may be, and how long they wait."""
    return PoolOptions(
        size=settings.database_pool_size,
        overflow=settings.database_pool_overflow,
        wait=settings.database_pool_wait,
        recycle=settings.database_pool_recycle,
        connect_timeout=settings.database_connect_timeout,
        read_timeout=settings.database_read_timeout,
        write_timeout=settings.database_write_timeout,
    )


def redis(settings: Settings) -> RedisOptions:
    """Return how many connections to Redis there may be, and how long they wait."""
    return RedisOptions(
        pool_size=settings.redis_pool_size,
        connect_timeout=settings.redis_connect_timeout,
        timeout=settings.redis_timeout,
    )


def rates(settings: Settings) -> Rates:
    """Return how often what may be asked."""
    return Rates(
        login_pair=settings.ratelimit_login_pair,
        login=settings.ratelimit_login,
        signup=settings.ratelimit_signup,
        captcha=settings.ratelimit_captcha,
        captcha_audio=settings.ratelimit_captcha_audio,
        refresh=settings.ratelimit_refresh,
        password=settings.ratelimit_password,
        mail=settings.ratelimit_mail,
    )
