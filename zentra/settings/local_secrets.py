"""Secrets of a checkout: random, made once, kept outside version control beside the embedded databases."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def local_secret(base_dir: Path, name: str) -> bytes:
    """32 random bytes that stay the same for this checkout. Safe when many processes start at once."""
    folder = Path(os.environ.get("ZENTRA_STATE_DIR") or base_dir / ".zentra") / "secrets"
    path = folder / name
    if not path.exists():
        # The folder above stays passable: the databases beside it may run as another account.
        folder.parent.mkdir(parents=True, mode=0o711, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        draft = folder / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        draft.touch(mode=0o600)
        draft.write_bytes(secrets.token_bytes(32))
        try:
            os.link(draft, path)
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return path.read_bytes()
