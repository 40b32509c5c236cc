"""A bot of Pipecat with a face and a local voice, without a cloud and without a key: open the page, type, and it says that.

    pip install 'mytalk-live[pipecat,voice]'
    python examples/pipecat_bot.py            # then open http://127.0.0.1:7860

Put your own ears, LLM and text-to-speech into the pipeline as ever: the face takes what comes out of the last.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from aiohttp import web
from pipecat.frames.frames import Frame, InterruptionFrame, TTSAudioRawFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport
from pipecat.workers.runner import WorkerRunner

import mytalk
from mytalk.pipecat import MyTalkVideoService

PAGE = """<!doctype html><title>A bot with a face</title>
<video autoplay playsinline></video><form><input size="50" autofocus></form><script>
const peer = new RTCPeerConnection(), words = peer.createDataChannel("words"), stream = new MediaStream()
peer.addTransceiver("audio"); peer.addTransceiver("video"); document.querySelector("video").srcObject = stream
peer.ontrack = event => stream.addTrack(event.track)
document.querySelector("form").onsubmit = event => {
  event.preventDefault(); words.send(JSON.stringify({ text: document.querySelector("input").value }))
}
document.onclick = async () => {
  document.onclick = null
  await peer.setLocalDescription()
  if (peer.iceGatheringState !== "complete") await new Promise(done => peer.onicegatheringstatechange = () =>
    peer.iceGatheringState === "complete" && done())
  await peer.setRemoteDescription(await (await fetch("/offer", { method: "POST", body: JSON.stringify(peer.localDescription) })).json())
}
</script><p>Click anywhere to begin, then type.</p>"""
SIZE = 512, 512


class LocalVoice(TTSService):
    """A voice of this machine."""

    def __init__(self) -> None:
        settings = TTSSettings(model=None, voice=None, language=None)
        super().__init__(sample_rate=24_000, push_start_frame=True, push_stop_frames=True, stop_frame_timeout_s=0.3, settings=settings)

    async def run_tts(self, text: str, context_id: str) -> AsyncIterator[Frame | None]:
        """A sentence, as sound, made beside the event loop."""
        blocks = mytalk.speak(text)
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            yield TTSAudioRawFrame((block * 32767).astype(np.int16).tobytes(), 24_000, 1, context_id=context_id)


async def bot(connection: SmallWebRTCConnection, **options: Any) -> None:
    """One visitor, until that leaves."""
    # SmallWebRTC counts 30 pictures a second, whatever comes: the service gives it 30; a framerate above that keeps none of them waiting
    params = TransportParams(
        audio_out_enabled=True, video_out_enabled=True, video_out_is_live=True,
        video_out_width=SIZE[0], video_out_height=SIZE[1], video_out_framerate=100,
    )  # fmt: skip
    transport = SmallWebRTCTransport(connection, params)
    face = MyTalkVideoService(size=SIZE, fps=30, **options)
    worker = PipelineWorker(
        Pipeline([transport.input(), LocalVoice(), face, transport.output()]), params=PipelineParams(audio_out_sample_rate=48_000)
    )

    @transport.event_handler("on_client_message")
    async def heard(transport: SmallWebRTCTransport, message: Any, client: Any) -> None:
        await worker.queue_frames([InterruptionFrame(), TTSSpeakFrame(message["text"])])

    @transport.event_handler("on_client_connected")
    async def came(transport: SmallWebRTCTransport, client: Any) -> None:
        await worker.queue_frame(TTSSpeakFrame("Hello. Type something, and I will say it."))

    @transport.event_handler("on_client_disconnected")
    async def left(transport: SmallWebRTCTransport, client: Any) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def make_app(**options: Any) -> web.Application:
    """The page, and what it asks for."""
    bots: dict[asyncio.Task[None], SmallWebRTCConnection] = {}

    async def offer(request: web.Request) -> web.Response:
        asked, connection = await request.json(), SmallWebRTCConnection()
        await connection.initialize(sdp=asked["sdp"], type=asked["type"])
        task = asyncio.create_task(bot(connection, **options))
        bots[task] = connection
        task.add_done_callback(bots.pop)
        return web.json_response(connection.get_answer())

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def close(app: web.Application) -> None:
        for connection in list(bots.values()):
            await connection.disconnect()
        await asyncio.gather(*bots)

    app = web.Application()
    app.on_cleanup.append(close)
    app.add_routes([web.get("/", page), web.post("/offer", offer)])
    return app


if __name__ == "__main__":
    web.run_app(make_app(actor=sys.argv[1] if len(sys.argv) > 1 else "presenter"), host="127.0.0.1", port=7860)
