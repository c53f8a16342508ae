"""Make the table of common passwords, `authsvc/infra/common_passwords.bin`.

    python -m tests.support.make_common_passwords

The list is "passwords" of zxcvbn (MIT, https://github.com/dwolfhub/zxcvbn-python):
the 30,000 most frequent passwords of lists that leaked. Each becomes the first five
bytes of a SHA-256; they stand sorted, one after the other, without any header.
"""

from zxcvbn.frequency_lists import FREQUENCY_LISTS  # type: ignore[import-untyped]

from authsvc.infra.common_passwords import TABLE, record

COMMON: list[str] = FREQUENCY_LISTS["passwords"]


def table() -> bytes:
    """Return the whole file."""
    return b"".join(sorted({record(password) for password in COMMON}))


if __name__ == "__main__":
    TABLE.write_bytes(table())
