from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
TEXT = (ROOT / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]


class TestCompose:
    def test_every_dependency_is_a_service(self):
        named = {name for service in SERVICES.values() for name in service.get("depends_on") or ()}

        assert named <= set(SERVICES)

    def test_every_named_volume_is_declared(self):
        mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]
        named = {mount for mount in mounts if not mount.startswith((".", "/"))}

        assert named == set(COMPOSE["volumes"])

    def test_every_mounted_file_exists(self):
        mounts = [mount.split(":")[0] for service in SERVICES.values() for mount in service.get("volumes", [])]

        assert [mount for mount in mounts if mount.startswith(".") and not (ROOT / mount).exists()] == []

    def test_every_variable_is_in_the_example_environment(self):
        example = dict(
            line.split("=", 1)
            for line in (ROOT / ".env.example").read_text().splitlines()
            if "=" in line and line[0] != "#"
        )

        assert set(re.findall(r"\$\{(\w+)", TEXT)) == set(example)

    def test_the_whole_stack_is_there(self):
        assert {"postgres", "redis", "web", "worker", "scheduler", "relay", "simulator"} <= set(SERVICES)
