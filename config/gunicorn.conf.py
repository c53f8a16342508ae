"""How gunicorn runs authsvc: `gunicorn -c config/gunicorn.conf.py wsgi:app`.

Everything is decided by the AUTHSVC_* settings; see config/example.env.

SIGHUP replaces the workers by new ones under traffic, and reads this file again; the code and
the settings stay those that the master started with. Others are taken up by a restart.
"""

import gc
import signal
import socket
import sys
from pathlib import Path

from authsvc.boot import fail, settings_or_exit
from authsvc.cautions import cautions
from authsvc.infra import metric_files
from authsvc.infra.embedded import EmbeddedRedis, EmbeddedRedisError
from authsvc.infra.server_log import ServerLogger

settings = settings_or_exit()
metric_files.share()


def _listen_on():
    addresses = [str(address) for address in settings.bind]
    if settings.in_production:
        return addresses
    if _has_ipv6_loopback():
        addresses += [f"[::1]:{a.port}" for a in settings.bind if a.host == "127.0.0.1"]
    return list(dict.fromkeys(addresses))


def _has_ipv6_loopback():
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


bind = _listen_on()
workers = settings.workers
worker_class = "authsvc.worker.Worker"
threads = settings.threads
timeout = settings.request_timeout
graceful_timeout = settings.graceful_timeout
keepalive = 5
preload_app = True
max_requests = 100_000
max_requests_jitter = 10_000
limit_request_line = 8190
limit_request_fields = 64
limit_request_field_size = 8190
forwarded_allow_ips = ""
forwarder_headers = ""
control_socket_disable = True
proc_name = "authsvc"
loglevel = settings.log_level
accesslog = None
logger_class = ServerLogger

embedded_redis = None if settings.redis_url else EmbeddedRedis(settings.data.resolve())


def on_starting(server):
    """Refuse ports in use in one sentence; start the private Redis before the workers."""
    if not server.master_pid:
        _refuse_ports_in_use()
    if embedded_redis is not None:
        try:
            embedded_redis.start()
        except (EmbeddedRedisError, OSError) as error:
            fail(str(error))


def when_ready(server):
    """Watch over the private Redis, say what deserves caution, tell a newcomer where to go.

    What is there by now stays: no worker need look through it for garbage, and so unshare it.
    """
    gc.collect()
    gc.freeze()
    if embedded_redis is not None:
        embedded_redis.watch()
    for caution in cautions(settings):
        server.log.warning(caution)
    if settings.in_production:
        return
    ports = [address.port for address in settings.bind if address.port]
    pages = [name for name, on in (("demo", settings.demo), ("docs", settings.docs)) if on]
    elsewhere = "" if settings.data == Path("var") else f" DATA={settings.data}"
    print(
        "",
        "authsvc answers on " + ", ".join(f"http://localhost:{port}" for port in ports),
        "  dialects: " + ", ".join(map(str, settings.mounts)),
        *(f"  {name}:     http://localhost:{ports[0]}/{name}" for name in pages if ports),
        f"  data:     {settings.data.resolve()}",
        f"  an administrator: make admin NAME=…{elsewhere}    stop: Ctrl-C",
        "",
        sep="\n",
        file=sys.stderr,
        flush=True,
    )


def pre_fork(server, worker):
    """Give the worker a place to count in that no other living one has."""
    living = (getattr(other, "counts_in", None) for other in server.WORKERS.values())
    worker.counts_in = metric_files.free_number(living)


def post_fork(server, worker):
    """Let the worker count in its place."""
    metric_files.take(worker.counts_in)


def child_exit(server, worker):
    """Forget what ended with the worker."""
    metric_files.mark_dead(worker.counts_in)


def post_worker_init(worker):
    """Start the postman and the watchers; leave Ctrl-C to the master.

    The terminal sends it to every process. The master's SIGQUIT then stops the worker as
    SIGTERM does: a second, quicker stop within the first can wait for a lock that it holds itself.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, worker.handle_exit)
    worker.wsgi.extensions["authsvc-postman"].start()
    for watcher in worker.wsgi.extensions["authsvc-watchers"]:
        watcher.start()


def worker_exit(server, worker):
    """Let the letters that are left to another worker; send the last traces."""
    if worker.wsgi is not None:
        worker.wsgi.extensions["authsvc-postman"].stop()
        for watcher in worker.wsgi.extensions["authsvc-watchers"]:
            watcher.stop()


def on_exit(server):
    """Stop what was started."""
    if embedded_redis is not None:
        embedded_redis.stop()


def _refuse_ports_in_use():
    for address in bind:
        if address.startswith("unix:"):
            continue
        host, _, port = address.rpartition(":")
        family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host.strip("[]"), int(port)))
            except OSError as error:
                fail(f"cannot listen on {address}: {error.strerror}; choose others with PORTS.")
