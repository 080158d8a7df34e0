"""
Run the sandbox acquirer: ``python -m zentra.simulator --state-dir DIR --acquirer alpha=9001``.

When every listener is open, one line of JSON on standard output names their ports; logs go to standard error.
SIGTERM and SIGINT end the process with code 0. Code 2 means that it could not start.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading
from typing import IO

import structlog

from zentra.simulator.config import Configuration, ConfigurationError, read_configuration
from zentra.simulator.server import Listener

log = structlog.get_logger(__name__)


def main() -> int:
    """Run until a signal comes and return the exit code."""
    _configure_logging()
    try:
        configuration = read_configuration(sys.argv[1:])
        lock = _lock_state(configuration)
    except (ConfigurationError, OSError) as problem:
        sys.stderr.write(f"simulator: {problem}\n")
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    listeners = [Listener(config, configuration.state_dir) for config in configuration.acquirers]
    with lock:
        try:
            for listener in listeners:
                listener.open()
        except OSError as problem:
            sys.stderr.write(f"simulator: cannot listen: {problem}\n")
            return 2
        _announce(configuration, listeners)
        stop.wait()
        for listener in listeners:
            listener.close()
    log.info("simulator_stopped")
    return 0


def _configure_logging() -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger("INFO"),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def _lock_state(configuration: Configuration) -> IO[bytes]:
    """
    Make the state directory and hold it until the process ends, however it ends.

    :raises ConfigurationError: another simulator holds it
    """
    configuration.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = (configuration.state_dir / "lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise ConfigurationError(f"{configuration.state_dir} is in use by another simulator") from None
    return lock


def _announce(configuration: Configuration, listeners: list[Listener]) -> None:
    acquirers = {
        config.name: {"port": listener.port, "url": listener.public_url}
        for config, listener in zip(configuration.acquirers, listeners, strict=True)
    }
    ready = {"event": "ready", "pid": os.getpid(), "host": configuration.acquirers[0].host, "acquirers": acquirers}
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
