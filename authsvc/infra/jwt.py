"""Access tokens: JWT (RFC 7519), minted and decoded with Flask-JWT-Extended."""

from flask import Flask
from flask_jwt_extended import JWTManager, create_access_token, decode_token
from flask_jwt_extended.exceptions import JWTExtendedException
from jwt.exceptions import PyJWTError

from authsvc.core.errors import InvalidToken
from authsvc.core.ports import Claims, Clock
from authsvc.core.users import User

CLOCK_SKEW_SECONDS = 90


class JwtIssuer:
    """Meets `authsvc.core.ports.TokenIssuer`.

    Args:
        app: the application whose configuration signs and checks.
        secret: the HS256 key.
        issuer: the `iss` of every token.
        clock: decides when a token has expired, without any leeway.
    """

    def __init__(self, app: Flask, secret: str, issuer: str, clock: Clock) -> None:
        app.config.update(
            JWT_SECRET_KEY=secret,
            JWT_ALGORITHM="HS256",
            JWT_DECODE_ALGORITHMS=["HS256"],
            JWT_ENCODE_ISSUER=issuer,
            JWT_DECODE_ISSUER=issuer,
            JWT_DECODE_LEEWAY=CLOCK_SKEW_SECONDS,
            JWT_ENCODE_NBF=False,
            JWT_COOKIE_CSRF_PROTECT=False,
        )
        JWTManager(app)
        self._clock = clock

    def issue(self, user: User, session_id: str, issued_at: int, expires_at: int) -> str:
        """Return a signed token; times in seconds since the epoch."""
        claims = {
            "userId": str(user.id),
            "username": user.username,
            "iat": issued_at,
            "exp": expires_at,
            "jti": session_id,
        }
        token: str = create_access_token(str(user.id), additional_claims=claims)
        return token

    def decode(self, token: str) -> Claims:
        """Return the claims of a genuine, unexpired token."""
        try:
            claims = decode_token(token)
            if claims["exp"] <= self._clock() or claims["type"] != "access":
                raise InvalidToken
            return Claims(session_id=str(claims["jti"]), user_id=int(claims["sub"]))
        except (PyJWTError, JWTExtendedException, KeyError, TypeError, ValueError) as error:
            raise InvalidToken from error
