"""LiveKit Agents: an actor as the avatar of an agent's session, made in the agent's process or by a server of ours."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout
from livekit import api, rtc
from livekit.agents import NOT_GIVEN, AgentSession, NotGivenOr, get_job_context
from livekit.agents.voice.avatar import AvatarRunner, DataStreamAudioOutput
from livekit.agents.voice.avatar import AvatarSession as Base

from engines.actor import Store
from engines.errors import Fault
from engines.pipeline import Pipeline
from realtime.clock import WallClock
from realtime.conversation import Conversation
from realtime.engine import Engine
from realtime.errors import SettingsFault
from realtime.manners import OWN, check_strength
from realtime.plug.face import Face, begun, conversation_of_its_own
from realtime.plug.livekit import AudioOutput, LipSync, runner_of
from realtime.settings import load
from realtime.worker import Actors, LivePipeline

IDENTITY = "mytalk-avatar"
ANSWER_S = 30.0


class AvatarSession(Base[Any]):
    """An actor that says what an agent says.

        avatar = mytalk.livekit.AvatarSession(actor="amara")
        await avatar.start(session, room=ctx.room)     # before session.start
        await session.start(agent, room=ctx.room)

    Without a `server` the pictures are made in a process of the agent's, and leave as tracks of the agent: for one call on a machine. With
    one (`mytalk serve`), that joins the room as a participant of its own, and one engine serves all calls.
    """

    def __init__(
        self,
        actor: str = "presenter",
        *,
        manner: str = OWN,
        strength: float = 1.0,
        server: str = "",
        token: str = "",
        avatar_participant_identity: NotGivenOr[str] = NOT_GIVEN,
        avatar_participant_name: NotGivenOr[str] = NOT_GIVEN,
        home: str | os.PathLike[str] | None = None,
        pipeline: Callable[[], LivePipeline] = Pipeline,
        store: Actors | None = None,
    ) -> None:
        """`manner` and `strength` say how things are said; `server` is the address of a server and `token` its secret.

        `home` is the data folder of actors, else the one of the command `mytalk`. `pipeline` is made in the engine's process, by its name;
        `store` has the actors. Raises Fault for what does not exist.
        """
        super().__init__()
        self._room: rtc.Room | None
        self.actor, self._manner, self._server, self._token = actor, (manner, check_strength(strength)), server.rstrip("/"), token
        self._identity = str(avatar_participant_identity or IDENTITY)
        self._name = str(avatar_participant_name or actor)
        self._pipeline = pipeline
        self._engine: Engine | None = None
        self._conversation: Conversation | None = None
        self._runner: AvatarRunner | None = None
        self._place = ""
        self.face: Face | None = None
        if server:
            if not server.startswith(("http://", "https://")):
                raise SettingsFault(f"{server!r} is no address of a server.", "Write http://HOST:PORT or https://HOST.")
        else:
            self._store = store or Store(load({"home": Path(home) if home else None}, os.environ).actors)
            self._store.find(actor)

    @property
    def avatar_identity(self) -> str:
        """Who of the room shows it: the agent itself, where no server does."""
        if self._server or self._room is None:
            return self._identity
        return self._room.local_participant.identity

    @property
    def provider(self) -> str:
        """See the base class."""
        return "mytalk"

    async def start(
        self,
        agent_session: AgentSession[Any],
        room: rtc.Room,
        *,
        livekit_url: NotGivenOr[str] = NOT_GIVEN,
        livekit_api_key: NotGivenOr[str] = NOT_GIVEN,
        livekit_api_secret: NotGivenOr[str] = NOT_GIVEN,
    ) -> None:
        """Begin, before the agent's session does. Where a server is to join, the arguments say how, else LIVEKIT_URL, LIVEKIT_API_KEY and
        LIVEKIT_API_SECRET. Raises Fault."""
        await super().start(agent_session, room)
        try:
            if self._server:
                given = {"LIVEKIT_URL": livekit_url, "LIVEKIT_API_KEY": livekit_api_key, "LIVEKIT_API_SECRET": livekit_api_secret}
                await self._send_server({name: str(value or os.environ.get(name, "")) for name, value in given.items()}, room)
                agent_session.output.replace_audio_tail(
                    DataStreamAudioOutput(
                        room, destination_identity=self._identity, wait_remote_track=rtc.TrackKind.KIND_VIDEO, wait_playback_start=True
                    )
                )
            else:
                agent_session.output.replace_audio_tail(await self._begin(room))
        except BaseException:
            await self.aclose()
            raise

    async def _begin(self, room: rtc.Room) -> AudioOutput:
        clock = WallClock()
        about = await asyncio.to_thread(self._store.about, self.actor)
        self._engine = Engine(self._store, clock, self._pipeline, actor=self.actor, spare_s=math.inf)
        await self._engine.start()
        await begun(self._engine, clock)
        self._conversation = conversation_of_its_own(self._engine, self.actor, self._store, clock, lambda ended: None)
        self.face = Face(self._conversation, clock)
        self._conversation.begin()
        if self._manner[0] != OWN:
            await self._conversation.speak_as(*self._manner)
        output = AudioOutput(LipSync(self.face))
        self._runner = runner_of(room, output, (int(about["width"]), int(about["height"])))
        await self._runner.start()
        return output

    async def _send_server(self, livekit: Mapping[str, str], room: rtc.Room) -> None:
        if missing := [name for name, value in livekit.items() if not value]:
            raise SettingsFault(f"{' and '.join(missing)} are not known.", "Set them, or give them to start().")
        url, key, secret = livekit.values()
        job = get_job_context(required=False)
        agent = job.local_participant_identity if job else room.local_participant.identity
        pass_ = (
            api.AccessToken(key, secret)
            .with_kind("agent")
            .with_identity(self._identity)
            .with_name(self._name)
            .with_grants(api.VideoGrants(room_join=True, room=room.name))
            .with_attributes({"lk.publish_on_behalf": agent})
            .to_jwt()
        )
        asked = {"url": url, "token": pass_, "actor": self.actor, "agent": agent, "manner": self._manner[0], "strength": self._manner[1]}
        async with self._client() as client, client.post(f"{self._server}/v1/rooms", json=asked) as answer:
            told = await answer.json(content_type=None)
        if answer.status != 201:
            raise Fault(str(told.get("detail", "The server refuses.")), str(told.get("hint", "")))
        self._place = f"{self._server}{answer.headers['Location']}"

    def _client(self) -> ClientSession:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        return ClientSession(headers=headers, timeout=ClientTimeout(total=ANSWER_S))

    async def aclose(self) -> None:
        """End it. Twice is once."""
        place, self._place = self._place, ""
        if place:
            try:
                async with self._client() as client:
                    (await client.delete(place)).close()
            except (ClientError, TimeoutError):  # it ends with the room, too
                pass
        runner, conversation, engine = self._runner, self._conversation, self._engine
        self._runner = self._conversation = self._engine = None
        if not self._server and self._room is not None:  # it is no participant of its own that could be removed
            self._room.off("connection_state_changed", self._on_connection_state_changed)
            self._room = None
        await super().aclose()
        if runner:
            await runner.aclose()
        if conversation:
            await conversation.close()
        if engine:
            await engine.close()
