"""Runs `make smoke` against the service as it is deployed: through nginx, on MariaDB and Redis.

    python -m tests.smoke_through_nginx

Every server is a private one on free ports. Sign-up asks for a captcha in the first round, and for
none in the second.
"""

import os
import secrets
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.mariadb import MariaDB
from tests.support.nginx import Nginx
from tests.support.processes import HOST
from tests.support.redis import RedisServer
from tests.support.service import ROOT, Service

ADMIN = "smoke-admin"


def main() -> int:
    """Run both rounds, and return the first exit status that is not 0."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with (
        tempfile.TemporaryDirectory(prefix="authsvc-smoke-") as folder,
        MariaDB(Path(folder, "mariadb")) as mariadb,
        RedisServer(Path(folder, "redis")) as redis,
    ):
        password, test_value = secrets.token_urlsafe(), secrets.token_urlsafe()
        environment: dict[str, str | None] = {
            "AUTHSVC_DATABASE_URL": mariadb.create_database("authsvc"),
            "AUTHSVC_REDIS_URL": redis.url,
            "AUTHSVC_JWT_SECRET": secrets.token_urlsafe(48),
            "AUTHSVC_CAPTCHA_TEST_VALUE": test_value,
            "AUTHSVC_RATELIMIT_ENABLED": "off",
            "AUTHSVC_GUESS_LIMIT": "off",
            "AUTHSVC_TRUSTED_PROXIES": HOST,
        }
        make_administrator(Service(Path(folder, "admin"), environment), password)
        for captcha in ("on", "off"):
            print(
                f"smoke: through nginx on MariaDB and Redis, sign-up captcha {captcha}", flush=True
            )
            settings = {**environment, "AUTHSVC_SIGNUP_CAPTCHA": captcha}
            with (
                Service(Path(folder, f"captcha-{captcha}"), settings) as service,
                Nginx(Path(folder, f"nginx-{captcha}"), service.ports) as nginx,
            ):
                status = smoke(nginx, password, test_value)
            if status != 0:
                return status
    return 0


def make_administrator(service: Service, password: str) -> None:
    """Give the database its schema and its administrator."""
    service.migrate()
    run = service.flask("create-admin", ADMIN, env={"AUTHSVC_ADMIN_PASSWORD": password})
    assert run.returncode == 0, f"no administrator was made:\n{run.stdout}{run.stderr}"


def smoke(nginx: Nginx, password: str, test_value: str) -> int:
    """Do what the README tells a user to do, and return how it ended."""
    command = ["make", "--no-print-directory", "smoke"]
    command += [f"BASE_8080={nginx.first}", f"BASE_3000={nginx.second}", f"ADMIN_NAME={ADMIN}"]
    secret = {"AUTHSVC_ADMIN_PASSWORD": password, "AUTHSVC_CAPTCHA_TEST_VALUE": test_value}
    return subprocess.run(command, cwd=ROOT, env=os.environ | secret, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
