"""What a process cannot do any more once it has said so, as Linux has it: elsewhere these do nothing."""

from __future__ import annotations

import ctypes
import errno
import logging
import platform
import struct
import sys

log = logging.getLogger(__name__)

_DUMPABLE, _SECCOMP, _NO_NEW_PRIVILEGES, _FILTER = 4, 22, 38, 2
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EACCES
_CALLS = {  # of an architecture: its number, and those of socket, ptrace, process_vm_readv, process_vm_writev, io_uring_setup
    "x86_64": (0xC000003E, (41, 101, 310, 311, 425)),
    "aarch64": (0xC00000B7, (198, 117, 270, 271, 425)),
}
_OTHER_TABLE = 0x40000000  # calls of x86-64's second table


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def hide() -> None:
    """Let no other process of this user look into this one: its memory, and the environment that it was started with."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DUMPABLE, 0, 0, 0, 0)


def leave_network() -> bool:
    """From now on this thread, and all that it starts, opens no socket and looks into no other process. Returns whether it is so."""
    if sys.platform != "linux" or platform.machine() not in _CALLS:
        return False
    architecture, calls = _CALLS[platform.machine()]
    refuse = 4 + len(calls) + 1  # the place of the last step; a jump counts from the step behind it
    steps = [
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, refuse - 2, architecture),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, refuse - 4, 0, _OTHER_TABLE),
        *((_EQUAL, refuse - n - 1, 0, call) for n, call in enumerate(calls, 4)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _REFUSE),
    ]
    program = _Program(len(steps), b"".join(struct.pack("HBBI", *step) for step in steps))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        log.info("the network stays open to processes that open files: %s", errno.errorcode.get(ctypes.get_errno()))
        return False
    return True
