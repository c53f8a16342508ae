"""Time-based one-time codes (RFC 6238), by pyotp: six digits, 30 seconds, SHA-1."""

import re

import pyotp
from pyotp.exceptions import OTPVerificationError

_CODE = re.compile("[0-9]{6}")
_TOLERATED_STEPS = 1


class TotpCodes:
    """Meets `authsvc.core.ports.OneTimeCodes`.

    Args:
        issuer: the service's name, as an authenticator shows it beside the user's.
    """

    def __init__(self, issuer: str) -> None:
        self._issuer = issuer

    def new_secret(self) -> str:
        """Return a random secret of 160 bits, in base32."""
        return pyotp.random_base32()

    def uri(self, secret: str, username: str) -> str:
        """Return what an authenticator reads: `otpauth://totp/…`."""
        return pyotp.TOTP(secret).provisioning_uri(name=username, issuer_name=self._issuer)

    def step(self, secret: str, code: str, now: float) -> int | None:
        """Return the time step of a code that is right now, or within one step of it.

        The comparison takes the same time for every code of six ASCII digits that is
        wrong; any other text is wrong, also digits of another script.
        """
        if not _CODE.fullmatch(code):
            return None
        try:
            return pyotp.TOTP(secret).verify_and_get_timecode(
                code, for_time=now, valid_window=_TOLERATED_STEPS
            )
        except OTPVerificationError:
            return None
