"""The whole platform on this machine: simulator, web, worker, scheduler and relay, and a workspace to play in."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from django.db import connections

from payments.selectors import unfinished_count
from zentra.demo.clients import AcquirerClient, AdminBrowser, ApiClient
from zentra.demo.processes import ProcessFailed, ProcessTree, free_port
from zentra.demo.provision import AcquirerAddress, Provisioned, provision, readdress
from zentra.demo.receiver import Receiver

Say = Callable[[str], None]

WEB_PORT: Final = 8000
LEFTOVER_SECONDS: Final = 90
SIMULATOR_TRIES: Final = 10
ACQUIRER_PORTS: Final = {"alpha": 8091, "beta": 8092}


class Platform:
    """Starts the processes in order and hands out a client for each party of the story."""

    def __init__(self, *, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.log_dir = state_dir / "log"
        self.web_port = free_port(WEB_PORT)
        environment = {
            "OUTGOING_ALLOWED_NETWORKS": "127.0.0.1/32",
            "WEB_BIND": f"127.0.0.1:{self.web_port}",
            "LOG_LEVEL": "INFO",
        }
        self.tree = ProcessTree(log_dir=self.log_dir, environment=environment)
        self.receiver = Receiver()
        self.acquirers: dict[str, AcquirerClient] = {}
        self.provisioned: Provisioned

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.web_port}"

    def start(self, say: Say) -> None:
        """Bring everything up. :raises ProcessFailed: and names the log"""
        addresses = self._start_simulator(say)
        say("Starting web, worker, scheduler and relay …")
        python = sys.executable
        self.tree.start("web", [python, "-m", "gunicorn", "-c", "python:zentra.gunicorn", "zentra.wsgi"])
        worker = ["worker", "--loglevel", "WARNING", "--concurrency", "2", "--without-gossip", "--without-mingle"]
        self.tree.start("worker", [python, "-m", "celery", "-A", "zentra.celery", *worker])
        schedule = str(self.state_dir / "celerybeat-schedule")
        beat = ["beat", "--loglevel", "WARNING", "--schedule", schedule, "--pidfile", ""]
        self.tree.start("scheduler", [python, "-m", "celery", "-A", "zentra.celery", *beat])
        self.tree.start("relay", [python, "manage.py", "relay"])
        readdress(addresses)
        self.provisioned = provision(addresses)
        connections.close_all()
        self.tree.wait_for_port("web", self.web_port)
        self._finish_leftovers(say)

    def _finish_leftovers(self, say: Say) -> None:
        """Let the workers finish what a killed run left open, and empty the acquirers' unsettled lines of it.

        An outcome that nobody recorded is asked about once the longest call must have ended, so this takes a minute.
        """
        left = unfinished_count()
        if left:
            say(f"An earlier run was interrupted with {left} operations open; finding out what became of them …")
        deadline = time.monotonic() + LEFTOVER_SECONDS
        while unfinished_count():
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{unfinished_count()} operations of an earlier run are still open")
            time.sleep(0.5)
        connections.close_all()
        if left:
            say("Recovered: every outcome of the earlier run is known now.")
        for acquirer in self.acquirers.values():
            acquirer.control("settlement")

    def _start_simulator(self, say: Say) -> list[AcquirerAddress]:
        ports = {name: free_port(port) for name, port in ACQUIRER_PORTS.items()}
        folder = self.state_dir / "simulator"
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "zentra.simulator", "--state-dir", str(folder)]
        for name, port in ports.items():
            command += ["--acquirer", f"{name}={port}"]
        say("Starting the acquirer simulator …")
        ready = self._announced("simulator", command)
        addresses = [
            AcquirerAddress(name, ready["acquirers"][name]["url"], f"acq_secret_{name}", f"cbk_secret_{name}")
            for name in ports
        ]
        self.acquirers = {item.name: AcquirerClient(item.url, item.secret) for item in addresses}
        return addresses

    def _announced(self, name: str, command: list[str]) -> dict[str, Any]:
        """Start the simulator; one of a run that was just killed may hold the state for a moment longer."""
        for _ in range(SIMULATOR_TRIES - 1):
            try:
                return self.tree.start_announcing(name, command)
            except ProcessFailed:
                time.sleep(1)
        return self.tree.start_announcing(name, command)

    def api(self) -> ApiClient:
        return ApiClient(self.base_url, self.provisioned.api_key)

    def operator(self) -> AdminBrowser:
        """An operator's browser, logged in."""
        browser = AdminBrowser(self.base_url)
        browser.log_in(self.provisioned.username, self.provisioned.password)
        return browser

    def describe(self, say: Say) -> None:
        """Where a person finds what was started."""
        say(f"API documentation  {self.base_url}/api/docs/")
        say(f"Admin              {self.base_url}/admin/   {self.provisioned.username} / {self.provisioned.password}")
        say(f"API key            {self.provisioned.api_key}")

    def stop(self) -> None:
        """Take everything down. Safe to call twice."""
        self.tree.stop()
        self.receiver.close()
