"""The registry of dialects: one line for each document."""

from authsvc.dialects import admin, envelope, native, session, token

REGISTRY = {page.DIALECT.name: page.DIALECT for page in (session, token, admin, envelope, native)}
