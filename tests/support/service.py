"""authsvc itself, run as in production: gunicorn with the repository's configuration."""

import http.client
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.client import Client
from tests.support.processes import HOST, Server, clean_environment, free_ports

ROOT = Path(__file__).resolve().parents[2]


class Service(Server):
    """authsvc on two free loopback ports, with nothing set but what the test sets.

    Args:
        folder: takes its data and its log.
        env: AUTHSVC_* variables. AUTHSVC_BIND, AUTHSVC_DATA and AUTHSVC_MOUNTS (the default table,
            on the two ports) are set by themselves; None as a value takes one of them away.
        ports: the two ports, where the test must know them beforehand.
    """

    name = "authsvc"
    start_seconds = 30.0
    # More than gunicorn's own graceful time-out.
    stop_seconds = 40.0
    # Its workers and its private Redis go with it.
    parent_death_signal = signal.SIGTERM

    def __init__(
        self,
        folder: Path,
        env: Mapping[str, str | None] | None = None,
        *,
        ports: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(folder.resolve())
        first, second = ports or free_ports(2)
        self.ports = (first, second)
        self.data = self.folder / "data"
        self._env = {**self._defaults(), **(env or {})}

    @property
    def first(self) -> str:
        """The base URL of the port that stands for 8080."""
        return f"http://{HOST}:{self.ports[0]}"

    @property
    def second(self) -> str:
        """The base URL of the port that stands for 3000."""
        return f"http://{HOST}:{self.ports[1]}"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "gunicorn", "-c", "config/gunicorn.conf.py", "wsgi:app"]

    def environment(self) -> dict[str, str]:
        return clean_environment() | {
            name: value for name, value in self._env.items() if value is not None
        }

    def working_folder(self) -> Path:
        return ROOT

    def is_ready(self) -> bool:
        return all(_answers(base) for base in (self.first, self.second))

    def flask(
        self, *arguments: str, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a `flask` command in the service's environment, plus `env`; returns how it ended."""
        self.prepare()
        return subprocess.run(
            [sys.executable, "-m", "flask", "--app", "wsgi", *arguments],
            cwd=ROOT,
            env=self.environment() | dict(env or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def migrate(self) -> None:
        """Brings the database to the newest schema."""
        run = self.flask("db", "upgrade")
        assert run.returncode == 0, f"the migrations failed:\n{run.stdout}{run.stderr}"

    def prepare(self) -> None:
        super().prepare()
        self.data.mkdir(exist_ok=True)

    def _defaults(self) -> dict[str, str]:
        first, second = self.ports
        return {
            "AUTHSVC_BIND": f"{HOST}:{first},{HOST}:{second}",
            "AUTHSVC_DATA": str(self.data),
            "AUTHSVC_MOUNTS": "session=/, token=/api, admin=/api/auth, native=/v1, "
            f"envelope=:{second}/api",
        }


def _answers(base: str) -> bool:
    try:
        return Client(base, timeout=5).get("/version").status == 200
    except (OSError, http.client.HTTPException):
        return False
