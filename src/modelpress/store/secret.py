"""Secrets at rest: AES-256-GCM under a key that lies in a 0600 file, not in the database.

Whoever has both the database and the key file has every secret.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from modelpress.errors import SettingsError

#: First byte of a stored secret: which layout and key made it, so that keys can be rotated later.
_VERSION = b"\x01"
_NONCE_BYTES = 12


class SecretBox:
    """Encrypts and decrypts the secrets of access keys."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, secret: str, *, access_key: str) -> bytes:
        """``secret`` encrypted; bound to ``access_key``, so that rows cannot be swapped."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _VERSION + nonce + self._cipher.encrypt(nonce, secret.encode(), access_key.encode())

    def open(self, sealed: bytes, *, access_key: str) -> str:
        """The secret that was sealed.

        Raises: SettingsError if the key file is not the one the database was written with.
        """
        nonce, encrypted = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, encrypted, access_key.encode()).decode()
        except InvalidTag as exc:
            raise SettingsError(
                f"the secret of access key {access_key!r} cannot be decrypted with this master key",
                hint="point key_file at the key this database was made with",
            ) from exc


def load_master_key(path: Path) -> bytes:
    """The 32-byte key in the file at ``path``; made at first use, readable by its owner only."""
    try:
        text = path.read_text(encoding="ascii")
    except FileNotFoundError:
        return _make_master_key(path)
    except OSError as exc:
        raise SettingsError(f"master key {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(f"master key {path} is not base64") from exc
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except binascii.Error as exc:
        raise SettingsError(f"master key {path} is not base64") from exc
    if len(key) != 32:
        raise SettingsError(f"master key {path} holds {len(key)} bytes, not 32")
    return key


def _make_master_key(path: Path) -> bytes:
    """Written under another name and linked into place: of two processes that start at once, one wins, whole."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
            out.write(base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
            out.flush()
            os.fsync(out.fileno())
        os.link(partial, path)
    except FileExistsError:
        pass  # the other process's key holds
    except OSError as exc:
        raise SettingsError(f"master key {path} cannot be made: {exc.strerror}") from exc
    finally:
        partial.unlink(missing_ok=True)
    return load_master_key(path)
