"""An actor in a pipeline of Pipecat (extra `pipecat`; docs/plugins.md).

from mytalk.pipecat import MyTalkVideoService

Pipeline([..., tts, MyTalkVideoService(actor="amara", size=(512, 512)), transport.output()])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mytalk.own import own

try:
    _service = own("realtime.plug.pipecat")
except ModuleNotFoundError as error:
    if not str(error.name).startswith("pipecat"):
        raise
    raise ImportError("mytalk.pipecat needs Pipecat, which is not installed. hint: pip install 'mytalk-live[pipecat]'") from error

if TYPE_CHECKING:
    from realtime.plug.pipecat import MyTalkVideoService as MyTalkVideoService
else:
    MyTalkVideoService = _service.MyTalkVideoService

__all__ = ["MyTalkVideoService"]
