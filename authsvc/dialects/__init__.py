"""The registry of dialects: one line for each document."""

from pathlib import Path

from authsvc.dialects import admin, envelope, native, ruoyi, session, token

EXAMPLES = Path(__file__).with_name("examples")
"""The examples of the documents, made from the golden answers of the tests."""

_PAGES = (session, token, admin, envelope, native, ruoyi)

REGISTRY = {page.DIALECT.name: page.DIALECT for page in _PAGES}
