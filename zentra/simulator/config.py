"""The command line and the environment of the simulator, read into plain values."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zentra.simulator.callbacks import CallbackTarget
from zentra.simulator.wire import is_http_url

NAME = re.compile(r"[a-z][a-z0-9_-]{0,31}")
MAX_ACQUIRERS = 16
MAX_LATE_SECONDS = 60.0


class ConfigurationError(Exception):
    """The command line or the environment cannot be used; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquirerConfig:
    """One acquirer: its name, its listener and its secrets."""

    name: str
    host: str
    port: int
    secret: str
    callback: CallbackTarget | None
    callback_secret: str
    public_url: str | None
    late_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """Everything the process needs to start."""

    state_dir: Path
    acquirers: tuple[AcquirerConfig, ...]


def read_configuration(arguments: Sequence[str], environ: Mapping[str, str] = os.environ) -> Configuration:
    """
    Read the command line; what it leaves out comes from ``ZENTRA_SIMULATOR_*``.

    :raises ConfigurationError: something is missing or malformed
    """
    options = _options(arguments, environ)
    if not options.state_dir:
        raise ConfigurationError("name a directory with --state-dir or ZENTRA_SIMULATOR_STATE_DIR")
    ports = _pairs("--acquirer", options.acquirer)
    if not 1 <= len(ports) <= MAX_ACQUIRERS:
        raise ConfigurationError(f"name 1 to {MAX_ACQUIRERS} acquirers with --acquirer NAME=PORT")
    secrets = _pairs("--secret", options.secret)
    callbacks = _pairs("--callback", options.callback)
    callback_secrets = _pairs("--callback-secret", options.callback_secret)
    public_urls = _pairs("--public-url", options.public_url)
    if (secrets | callbacks | callback_secrets | public_urls).keys() - ports.keys():
        raise ConfigurationError("an option names an acquirer that --acquirer does not")
    acquirers = []
    for name, port in ports.items():
        if not NAME.fullmatch(name):
            raise ConfigurationError(f"the name {name!r} must match {NAME.pattern}")
        url = callbacks.get(name) or (options.callback_url or "").replace("{name}", name)
        secret = callback_secrets.get(name, f"cbk_secret_{name}")
        acquirers.append(
            AcquirerConfig(
                name=name,
                host=options.host,
                port=_port(name, port),
                secret=secrets.get(name, f"acq_secret_{name}"),
                callback=CallbackTarget(url=_url("callback", url), secret=secret) if url else None,
                callback_secret=secret,
                public_url=_url("--public-url", public_urls[name]).rstrip("/") if name in public_urls else None,
                late_seconds=_late_seconds(options.late_seconds),
            )
        )
    return Configuration(state_dir=Path(options.state_dir), acquirers=tuple(acquirers))


def _options(arguments: Sequence[str], environ: Mapping[str, str]) -> argparse.Namespace:
    def value(name: str, default: str | None = None) -> str | None:
        return environ.get(f"ZENTRA_SIMULATOR_{name}") or default

    parser = argparse.ArgumentParser(
        prog="python -m zentra.simulator",
        description="The sandbox acquirer. Every option can come from the environment as"
        " ZENTRA_SIMULATOR_<OPTION>, where repeated options are comma separated; secrets belong there.",
    )
    add = parser.add_argument
    add("--state-dir", default=value("STATE_DIR"), help="directory of the durable state")
    add("--host", default=value("HOST", "127.0.0.1"), help="address to listen on (default 127.0.0.1)")
    add("--callback-url", default=value("CALLBACK_URL"), help="callbacks of all; {name} becomes the acquirer's name")
    add("--late-seconds", default=value("LATE_SECONDS", "3"), help="delay of tok_sandbox_late_answer")
    repeatable = {
        "acquirer": ("NAME=PORT", "an acquirer and its port; port 0 chooses one"),
        "secret": ("NAME=SECRET", "bearer secret (default acq_secret_NAME)"),
        "callback": ("NAME=URL", "callbacks of one acquirer"),
        "callback_secret": ("NAME=SECRET", "what its callbacks are signed with (default cbk_secret_NAME)"),
        "public_url": ("NAME=URL", "where a browser reaches its challenge pages"),
    }
    for name, (metavar, text) in repeatable.items():
        add(f"--{name.replace('_', '-')}", action="append", metavar=metavar, help=text)
    options = parser.parse_args(arguments)
    for name in repeatable:
        if getattr(options, name) is None:
            setattr(options, name, [part for part in (value(name.upper()) or "").split(",") if part])
    return options


def _pairs(flag: str, given: Sequence[str]) -> dict[str, str]:
    pairs = dict(part.partition("=")[::2] for part in given)
    if not all(pairs.values()) or len(pairs) != len(given):
        raise ConfigurationError(f"{flag} must be given as NAME=VALUE, once per name")
    return pairs


def _port(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise ConfigurationError(f"the port of {name} must be a number from 0 to 65535")
    return int(text)


def _url(flag: str, text: str) -> str:
    if not is_http_url(text):
        raise ConfigurationError(f"{flag} must be an http or https address")
    return text


def _late_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_LATE_SECONDS:
        raise ConfigurationError(f"--late-seconds must be a number from 0 to {MAX_LATE_SECONDS:g}")
    return seconds
