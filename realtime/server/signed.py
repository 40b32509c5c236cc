"""Words that were signed with a secret: whoever has the same secret can check them, on whatever machine, and nobody else can make them."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
from typing import Any

from realtime.clock import unix_time

_MAC = 16  # bytes of a signature that are kept: 128 bits
_LONGEST = 8192  # characters of what is looked at


class Signer:
    """Signs with a secret. Without one anybody can sign: only a machine that asks nobody for a secret has none."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"mytalk signs", "sha256")

    def sign(self, kind: str, said: dict[str, Any], seconds: float) -> str:
        """Words of a kind, good for so many seconds from now, as letters, digits, `-`, `_` and a dot."""
        body = _letters(json.dumps({**said, "until": round(unix_time() + seconds, 3)}, separators=(",", ":")).encode())
        return f"{body}.{_letters(self._mac(kind, body))}"

    def read(self, kind: str, text: str) -> dict[str, Any] | None:
        """What was signed as words of this kind, with `until` (Unix time); None for anything else. Its age is not looked at."""
        body, dot, mac = text.partition(".")
        if not dot or len(text) > _LONGEST or not text.isascii() or not hmac.compare_digest(_letters(self._mac(kind, body)), mac):
            return None
        try:
            said = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        except (ValueError, binascii.Error):
            return None
        return said if isinstance(said, dict) else None

    def fresh(self, kind: str, text: str) -> dict[str, Any] | None:
        """The same, but None for what is too old."""
        said = self.read(kind, text)
        return said if said is not None and said["until"] >= unix_time() else None

    def _mac(self, kind: str, body: str) -> bytes:
        return hmac.digest(self._key, f"{kind}.{body}".encode(), "sha256")[:_MAC]


def _letters(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
