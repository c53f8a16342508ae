"""The alphabet that is measured: `ALPHABET=digits` in the environment chooses the other one."""

import os

from authsvc.core.captchas import ALPHABETS

ALPHABET = ALPHABETS[os.environ.get("ALPHABET", "mixed")]
