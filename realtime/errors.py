"""The faces of an error that a person caused or can mend: sentences and an exit code, or an HTTP problem."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

from engines.errors import Fault

EXIT_FAULT = 2
EXIT_INTERRUPTED = 130

STATUS = {
    "unknown-actor": 404,
    "unknown-session": 404,
    "unknown-route": 404,
    "offer": 400,
    "settings": 400,
    "actor": 422,
    "bad-speech": 422,
    "manner": 422,
    "media": 422,
    "no-usable-face": 422,
    "output": 409,
    "storage": 507,
    "full": 503,
    "card-full": 503,
    "engine": 503,
    "engine-crash": 503,
    "weights": 500,
}
"""HTTP status by code. A fault class may carry its own `status`; any other is the caller's fault: 400."""


class MediaFault(Fault):
    """A file whose pictures or sound cannot be read: missing, damaged, empty, or of a kind that is not read here."""

    code = "media"


class OutputFault(Fault):
    """An output that may not be written: it exists, it is the input, its folder or kind will not do."""

    code = "output"


class StorageFault(Fault):
    """The disk said no: no space, no permission, no such file."""

    code = "storage"


class SettingsFault(Fault):
    """A setting that is unknown or out of its range."""

    code = "settings"


_DISK: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("There is no space left on the disk{at}.", "Free some space, or choose another folder."),
    errno.EDQUOT: ("Your share of the disk is used up{at}.", "Free some space, or choose another folder."),
    errno.EACCES: ("Permission is denied{at}.", "Choose another place, or ask for the permission."),
    errno.EPERM: ("Permission is denied{at}.", "Choose another place, or ask for the permission."),
    errno.EROFS: ("The disk is read-only{at}.", "Choose another folder."),
    errno.ENOENT: ("There is no such file or folder{at}.", "Check the name."),
    errno.ENOTDIR: ("There is no such folder{at}.", "Check the name."),
    errno.EISDIR: ("A folder stands where a file should be{at}.", "Name a file."),
    errno.EEXIST: ("There is something of this name already{at}.", "Choose another name."),
    errno.ENAMETOOLONG: ("The name is too long{at}.", "Choose a shorter one."),
    errno.EADDRINUSE: ("The address or port is in use by another program.", "Choose another with --port."),
    errno.EADDRNOTAVAIL: ("This machine does not have that address.", "Choose another with --host."),
}


def fault_of(error: OSError) -> Fault | None:
    """An operating system's error as a Fault, or None where a person could not mend it (then it is a bug)."""
    if error.errno not in _DISK:
        return None
    name = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else ""
    name = name.removeprefix("file:")
    if name.endswith(".part"):  # a file that is being built: the person knows its folder
        name = str(Path(name).parent)
    message, hint = _DISK[error.errno]
    return StorageFault(message.format(at=f": {name}" if name else ""), hint)


def problem(fault: Fault) -> dict[str, Any]:
    """The fault as an RFC 9457 problem, to be sent as application/problem+json with its own `status`.

    `code`, `hint` and `again` (whether the same request may succeed later) are extension members.
    """
    status = getattr(fault, "status", None) or STATUS.get(fault.code, 400)
    return {
        "type": f"urn:mytalk:problem:{fault.code}",
        "title": fault.code.replace("-", " ").capitalize(),
        "status": status,
        "detail": without_folders(fault.message),
        "code": fault.code,
        "hint": without_folders(fault.hint),
        "again": fault.again,
    }


def without_folders(text: str) -> str:
    """A text for others than who sits at this machine: of files there are only the names. Addresses of our own stay."""
    return re.sub(r"(?<![\w:/.*])/(?!v1/)[^\s'\",:]*/([^\s'\",:/]*)", r"\1", text)


def sentences(fault: Fault) -> str:
    """The fault as lines for a terminal, readable without colour."""
    return f"error: {fault.message}" + (f"\nhint: {fault.hint}" if fault.hint else "")
