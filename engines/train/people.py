"""The actors that ship: drawn people, and paintings in the public domain."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from engines.actor import BUILT_IN, Actor, save_actor
from engines.enrol import enrol
from engines.frames import Frames, write_frames
from engines.person import PEOPLE, PRESENTER
from engines.portrait import preview
from engines.presenter import make_presenter
from native.planes import from_rgb

SIDE = 512
PAINTINGS = {
    "mona-lisa": ("painting_mona_lisa.jpg", (8, 0, 560), "Leonardo da Vinci, Mona Lisa, public domain"),
    "pearl-earring": ("painting_pearl_earring.jpg", (0, 40, 874), "Johannes Vermeer, Girl with a Pearl Earring, public domain"),
}
"""By the actor's name: the file, the square that is taken of it (x, y of its corner, side), and what it is."""
CRF, PRESET = 19, "slower"
"""Of a painting's idle loop: canvas and cracks take much room."""


def make_people(folder: Path, photos: Path) -> None:
    """Make all actors that ship anew. `folder`: where they go; `photos`: where the paintings are, which are left out if it is not there."""
    for name, look in {BUILT_IN: PRESENTER, **PEOPLE}.items():
        _keep(make_presenter(look, name=name), folder / name)
    for name, (file, (x, y, side), what) in PAINTINGS.items() if photos.is_dir() else ():
        painting = cv2.imread(str(photos / file))
        if painting is None:
            raise FileNotFoundError(photos / file)
        square = cv2.resize(painting[y : y + side, x : x + side], (SIDE, SIDE), interpolation=cv2.INTER_AREA)[:, :, ::-1]
        with tempfile.TemporaryDirectory() as work:
            actor = enrol(iter([from_rgb(np.ascontiguousarray(square, np.uint8))]), Path(work), name, source=what)
            smaller = Path(work) / "smaller.mp4"
            count = write_frames(smaller, iter(actor.frames), crf=CRF, preset=PRESET)
            _keep(replace(actor, frames=Frames(smaller, count)), folder / name)


def _keep(actor: Actor, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    save_actor(actor, folder, preview(actor))
