"""The passwords that people use most, as a table of short hashes.

They are the 30,000 entries of the frequency list "passwords" that ships in the
package zxcvbn; `tests/support/make_common_passwords.py` makes the table of them.
"""

import hashlib
from bisect import bisect_left
from pathlib import Path

from authsvc.core.users import fold

RECORD_BYTES = 5
TABLE = Path(__file__).with_name("common_passwords.bin")


def record(password: str) -> bytes:
    """Return what the table holds of a password: the start of a SHA-256, whatever its spelling."""
    folded = fold(password).encode(errors="surrogatepass")
    return hashlib.sha256(folded).digest()[:RECORD_BYTES]


class CommonPasswordTable:
    """Meets `authsvc.core.ports.CommonPasswords` with 150 kB, read once.

    Of 36 million passwords that are not common, one is taken for a common one.
    """

    def __init__(self) -> None:
        self._table = TABLE.read_bytes()

    def __contains__(self, password: str) -> bool:
        """Tell whether the password is one of them, in any spelling of case and width."""
        wanted = record(password)
        count = len(self._table) // RECORD_BYTES
        return self._at(bisect_left(range(count), wanted, key=self._at)) == wanted

    def _at(self, index: int) -> bytes:
        return self._table[index * RECORD_BYTES : (index + 1) * RECORD_BYTES]
