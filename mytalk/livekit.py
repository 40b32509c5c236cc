"""An actor as the avatar of an agent of LiveKit Agents (extra `livekit`; docs/plugins.md).

from mytalk.livekit import AvatarSession

avatar = AvatarSession(actor="amara")
await avatar.start(session, room=ctx.room)
await session.start(agent, room=ctx.room)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mytalk.own import own

try:
    _avatar, _generator = own("realtime.plug.avatar"), own("realtime.plug.livekit")
except ModuleNotFoundError as error:
    if not str(error.name).startswith("livekit"):
        raise
    raise ImportError("mytalk.livekit needs LiveKit Agents, which is not installed. hint: pip install 'mytalk-live[livekit]'") from error

if TYPE_CHECKING:
    from realtime.plug.avatar import AvatarSession as AvatarSession
    from realtime.plug.livekit import LipSync as LipSync
else:
    AvatarSession, LipSync = _avatar.AvatarSession, _generator.LipSync

__all__ = ["AvatarSession", "LipSync"]
