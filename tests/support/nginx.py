"""nginx with a configuration of the repository, moved to free ports and a folder of its own."""

import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path

from tests.support.binaries import path_of
from tests.support.certificates import certify
from tests.support.processes import HOST, Server, accepts_tcp, free_ports

_CONFIGS = Path(__file__).resolve().parents[2] / "config"
CONFIG, RUOYI_CONFIG = _CONFIGS / "nginx.conf", _CONFIGS / "nginx-ruoyi.conf"

# The numbers that the configuration is written with.
LISTENS = (8080, 3000)
TLS_LISTENS = (8443, 3443)
UPSTREAMS = (18080, 13000)

# Set by us, whatever the file says: process, user and temporary files.
OURS = re.compile(
    r"^[ \t]*(?:user|pid|daemon|(?:client_body|proxy|fastcgi|uwsgi|scgi)_temp_path)[ \t][^;{}]*;",
    re.MULTILINE,
)
# Moved into our folder; /dev/stdout and the like stay.
LOGS = re.compile(r"(\b(?:access|error)_log\s+)/(?!dev/)(?:[^\s;/]+/)*")
CERTIFICATES = re.compile(r"(\bssl_certificate(?:_key)?\s+)/(?:[^\s;/]+/)*")
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


class Nginx(Server):
    """nginx in front of two upstream ports.

    Args:
        folder: takes its configuration, logs and temporary files.
        upstreams: the ports of the service that stand for 18080 and 13000.
        config: the configuration, a file or its text.
    """

    name = "nginx"
    # Its workers would outlive a killed master.
    parent_death_signal = signal.SIGTERM

    def __init__(
        self, folder: Path, upstreams: tuple[int, int], config: Path | str = CONFIG
    ) -> None:
        super().__init__(folder.resolve())
        first, second, *tls = free_ports(4)
        self.ports = (first, second)
        self.tls_ports = (tls[0], tls[1])
        self._source = config if isinstance(config, str) else config.read_text(encoding="utf-8")
        here = (*self.ports, *self.tls_ports, *upstreams)
        self._numbers = dict(zip((*LISTENS, *TLS_LISTENS, *UPSTREAMS), here, strict=True))

    @property
    def first(self) -> str:
        """The base URL of what the configuration calls port 8080."""
        return f"http://{HOST}:{self.ports[0]}"

    @property
    def second(self) -> str:
        """The base URL of what the configuration calls port 3000."""
        return f"http://{HOST}:{self.ports[1]}"

    def prepare(self) -> None:
        super().prepare()
        config = relocated(self._source, self.folder, self._numbers)
        (self.folder / "nginx.conf").write_text(config, encoding="utf-8")
        certify(self.certificate, self.folder / "privkey.pem")

    def command(self) -> list[str]:
        config = str(self.folder / "nginx.conf")
        return [
            path_of("nginx"),
            "-p",
            str(self.folder),
            "-c",
            config,
            "-e",
            str(self.folder / "error.log"),
        ]

    def is_ready(self) -> bool:
        listened = re.findall(r"\blisten\s+(?:[\w.*]+:)?(\d+)", self._source)
        return all(accepts_tcp(self._numbers[int(number)]) for number in set(listened))

    @property
    def certificate(self) -> Path:
        """The file of the certificate, which is its own authority."""
        return self.folder / "fullchain.pem"

    def log_text(self) -> str:
        """Returns what nginx wrote to its output and to every log in its folder."""
        return "".join(
            log.read_text(encoding="utf-8", errors="replace")
            for log in sorted(self.folder.glob("*.log"))
        )


def relocated(config: str, folder: Path, ports: Mapping[int, int]) -> str:
    """Returns a configuration with other ports, and all that nginx writes moved into a folder."""
    config = OURS.sub("", config)
    config = LOGS.sub(rf"\g<1>{folder}/", config)
    config = CERTIFICATES.sub(rf"\g<1>{folder}/", config)
    config = _on_loopback(config)
    config = _with_ports(config, ports)
    temporary = "".join(f"\n    {name}_temp_path {folder}/{name};" for name in TEMPORARY)
    config = re.sub(
        r"^([ \t]*http\s*\{)", lambda http: http[0] + temporary, config, count=1, flags=re.MULTILINE
    )
    return f"{_user()}daemon off;\npid {folder}/nginx.pid;\n{config}"


def _on_loopback(config: str) -> str:
    """Binds what listens on every address to the loopback, IPv6 likewise."""
    config = re.sub(r"(\blisten\s+)(?:\*:|0\.0\.0\.0:)?(?=\d+\b(?![.:]))", rf"\g<1>{HOST}:", config)
    return re.sub(r"(\blisten\s+)\[::\]:", r"\g<1>[::1]:", config)


def _with_ports(config: str, ports: Mapping[int, int]) -> str:
    """Replaces whole numbers, all in one pass, so that no replacement is replaced again."""
    numbers = "|".join(str(number) for number in ports)
    return re.sub(
        rf"(?<![\w.])(?:{numbers})(?![\w.])", lambda number: str(ports[int(number[0])]), config
    )


def _user() -> str:
    # Root's nginx would give its workers to "nobody", who may not enter root's temporary folder.
    return "user root;\n" if os.geteuid() == 0 else ""
