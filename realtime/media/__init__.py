"""Files in: pictures at 25 a second and speech in blocks, streamed. Files out are `realtime.writer`'s.

Pictures are I420, limited range, BT.601 (what `native.planes` and WebRTC peers assume), whatever the file has. Sound is what a
listener hears, in its place in time.
"""

from __future__ import annotations

from realtime.media.pictures import Info as Info
from realtime.media.pictures import probe as probe
from realtime.media.pictures import read_pictures as read_pictures
from realtime.media.sound import read_sound as read_sound
from realtime.media.sound import read_speech as read_speech
from realtime.media.sound import ticks as ticks
from realtime.media.sound import unheard as unheard
from realtime.media.survey import Sound as Sound

SOUNDS = "wav,w64,aiff,au,caf,flac,mp3,ogg,aac,amr,mov,mp4,m4a,3gp,matroska,webm,avi,asf,opus"
"""Kinds of files of strangers in which speech may come: no playlists, nothing that refers to other files."""
VIDEOS = "mov,mp4,m4a,3gp,matroska,webm,avi,asf,mpegts"
"""Kinds of files of strangers in which a face may come, beside pictures: see `realtime.photo`."""
