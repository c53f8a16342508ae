"""What a password that is being set must be."""

import re

from authsvc.core.errors import InvalidPassword, WeakPassword
from authsvc.core.ports import CommonPasswords
from authsvc.core.users import fold, is_storable_password

_LONGEST_TAIL = 4
_SHORTEST_WORD = 4


class PasswordRule:
    """Holds passwords that are being set to a rule, of form alone or of strength too.

    Args:
        min_length: characters that a password must have.
        common: the passwords that people use most.
    """

    def __init__(self, min_length: int, common: CommonPasswords) -> None:
        self.min_length = min_length
        self._common = common

    def check_form(self, password: str) -> None:
        """Hold a password to what can be stored.

        Raises:
            InvalidPassword: it is shorter than the minimum, longer than 1,024
                bytes, or not text that can be encoded.
        """
        if len(password) < self.min_length or not is_storable_password(password):
            raise InvalidPassword(self.min_length)

    def check_strict(self, password: str, username: str | None, email: str | None) -> None:
        """Hold a password to `check_form`, and refuse it where others guess it first.

        Letter case, width and blanks at either end never make a difference.

        A password is made of a name where that name, forwards or backwards, any
        number of times and with any punctuation between its letters, can be taken
        out of it, and the rest would not be a password by itself: it is common, or
        shorter than the minimum. Names of fewer than four letters occur in good
        passwords by chance: there a short rest counts only if it has no letter.
        With `alice` and a minimum of 8, `Alice123!` and `ecila-a.l.i.c.e` are
        refused, `alice likes tea` and `chalice of gold` are not.

        A password is common where it is one of those that people use most, or one
        of them with up to four digits, blanks or punctuation marks at its end.

        Args:
            password: the password that is being set.
            username: whose it will be; None where there is no name to compare with.
            email: the user's address, which counts whole and by the part before `@`.

        Raises:
            InvalidPassword: as `check_form` does.
            WeakPassword: it is made of the name (`username`), or of the address
                (`email`), or is common (`common`): the first of these that holds.
        """
        self.check_form(password)
        folded = fold(password).strip()
        if username is not None and self._is_made_of(username, folded):
            raise WeakPassword(self.min_length, "username")
        if email is not None and self._is_made_of_address(email, folded):
            raise WeakPassword(self.min_length, "email")
        if self._is_common(folded):
            raise WeakPassword(self.min_length, "common")

    def _is_made_of_address(self, email: str, folded: str) -> bool:
        local_part, _, _ = email.rpartition("@")
        return self._is_made_of(email, folded) or self._is_made_of(local_part, folded)

    def _is_made_of(self, name: str, folded: str) -> bool:
        letters = _letters(fold(name).strip())
        rest = _without(letters, folded)
        if rest == folded:
            return False
        if self._is_common(rest):
            return True
        is_short = len(rest) < self.min_length
        return is_short and (len(letters) >= _SHORTEST_WORD or not _has_letter(rest))

    def _is_common(self, folded: str) -> bool:
        for tail in range(_LONGEST_TAIL + 1):
            stem = folded[: len(folded) - tail]
            if stem in self._common:
                return True
            if not stem or stem[-1].isalpha():
                return False
        return False


def _letters(name: str) -> str:
    """Return a name's letters and digits; one without any counts as it is."""
    return "".join(filter(str.isalnum, name)) or name


def _without(letters: str, folded: str) -> str:
    """Take a name out of a password, wherever it stands, forwards or backwards."""
    between = r"[\W_]*+" if letters.isalnum() else ""
    forwards, backwards = (between.join(map(re.escape, s)) for s in (letters, letters[::-1]))
    return re.sub(f"{forwards}|{backwards}", "", folded).strip()


def _has_letter(text: str) -> bool:
    return any(map(str.isalpha, text))
