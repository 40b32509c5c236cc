"""Under which keys the application holds its parts."""

from __future__ import annotations

from aiohttp import web

from realtime.clock import Clock
from realtime.engine import Engine
from realtime.server.enrolments import Enrolments
from realtime.server.found import Found
from realtime.server.loops import Loops
from realtime.server.metrics import Metrics
from realtime.server.options import Options
from realtime.server.recordings import Recordings
from realtime.server.sayings import Sayings
from realtime.server.sessions import Sessions
from realtime.server.uploads import Uploads
from realtime.surroundings import Surroundings
from realtime.worker import Actors

AROUND = web.AppKey("around", Surroundings)
SESSIONS = web.AppKey("sessions", Sessions)
ENGINE = web.AppKey("engine", Engine)
STORE = web.AppKey("store", Actors)
OPTIONS = web.AppKey("options", Options)
CLOCK = web.AppKey("clock", Clock)
LOOPS = web.AppKey("loops", Loops)
METRICS = web.AppKey("metrics", Metrics)
RECORDINGS = web.AppKey("recordings", Recordings)
UPLOADS = web.AppKey("uploads", Uploads)
SAYINGS = web.AppKey("sayings", Sayings)
FOUND = web.AppKey("found", Found)
ENROLMENTS = web.AppKey("enrolments", Enrolments)
