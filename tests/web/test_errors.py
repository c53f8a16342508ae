"""What the log says of requests that failed."""

import logging
from pathlib import Path

import pytest

from authsvc import settings
from authsvc.app import create_app
from authsvc.infra.database import db


def test_a_path_writes_no_line_of_its_own_into_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AUTHSVC_DATA", str(tmp_path))
    monkeypatch.setenv("AUTHSVC_RATELIMIT_ENABLED", "off")
    app = create_app(settings.load())
    with caplog.at_level(logging.INFO):
        answer = app.test_client().get("/v1/captcha/x%0aERROR%20forged%1b[31m%00")
    assert answer.status_code == 404
    [record] = [record for record in caplog.records if record.name == "authsvc.web.errors"]
    assert "/v1/captcha/x%0AERROR%20forged%1B%5B31m%00" in record.getMessage()
    assert record.getMessage().isprintable()
    with app.app_context():
        db.engine.dispose()
