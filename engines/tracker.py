"""The face tracker: a picture in, landmarks out."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.tracking.nets import SEEN, Detector, Mesh, Sighting
from engines.tracking.reference import MediaPipe
from engines.tracking.region import Float, Picture, Region, around, cut_out, overlap, whole
from engines.tracking.search import LEAST, rounds

_SEARCHES = (12, 48)
"""Pictures of a video from one close search to the next while nobody is found: at first, doubled each time, and at most."""
_MISSED = 25  # pictures in which a face that was lost is looked for where it was
_AROUND = 1.7  # times its region
_ALIGNED = 1.3  # times its region: where the detector sees a face largest and whole
_UPSIDE_DOWN = 0.2  # logits by which a face must be surer the other way round
_SURE, _SURE_MESH = 1.1, 0.9  # a logit and a share: seen on all faces laid into scenes, on next to nothing else
_SAME = 0.5  # regions that overlap by more are one face


class Tracker:
    """Follows faces through a sequence of pictures (MediaPipe's face mesh, with refined lips and irises).

    `faces` is the most faces that are followed. `video=False` forgets the past picture each time. `confidence` is what both nets,
    the one that finds faces and the one that gives landmarks, must at least have. A face that is followed is looked at where it was
    in the last picture; others are looked for in the whole picture, made small, where there are fewer than `faces`. Where nothing
    sure is found like this the picture is searched closely, in squares (`engines.tracking.search`): in a video the first picture
    without a face, then the 12th after it, the 24th after that, and every 48th. Faces may be turned in any way.

    `reference` has MediaPipe itself do it (`engines.tracking.reference`); if it is not given, MYTALK_TRACKER=mediapipe in the environment
    says so. Raises BackendFault where MediaPipe is not installed.
    """

    def __init__(self, faces: int = 1, *, video: bool = True, confidence: float = 0.5, reference: bool | None = None) -> None:
        reference = os.environ.get("MYTALK_TRACKER") == "mediapipe" if reference is None else reference
        self._reference = MediaPipe(faces, video=video, confidence=confidence) if reference else None
        if self._reference is None:
            self._detector, self._mesh = Detector(), Mesh()
        self._most, self._video, self._confidence = faces, video, confidence
        self._least = float(np.log(confidence / (1 - confidence)))
        self._regions: list[Region] = []  # of the faces in the last picture
        self._missed: list[tuple[Region, int]] = []  # where a face was lost, and how many pictures ago
        self._since = self._wait = 0  # pictures since the last search, and until the next

    def track(self, picture: NDArray[np.uint8], at_least: int = 1) -> list[Float]:
        """Landmarks of each face in an RGB picture (H, W, 3): a list of (478, 3) arrays, the largest face first.

        x and y are pixels from the picture's top left corner; z has the scale of x and grows away from the viewer. A picture is
        searched closely where there are fewer faces than `at_least`.
        """
        if self._reference is not None:
            return self._reference.track(picture)
        if not self._video:
            self._regions, self._missed, self._since, self._wait = [], [], 0, 0
        faces, doubtful = _Faces(self._most), []
        for region in self._regions:
            if not faces.add(self._landmarks(picture, region)):
                self._missed.append((region, 0))
        if faces.missing:
            for found in self._detector.look_at(picture, whole(picture), self._least, self._most, averaged=False):  # quick
                if faces.lacks(found.region):
                    aligned, turned = self._aligned(picture, found)
                    face = self._landmarks(picture, aligned.region if turned else found.region)
                    if aligned.logit < _SURE:
                        doubtful.append(face)
                    else:
                        faces.add(face)
        for region, _ in self._missed:
            if faces.missing and faces.lacks(region):
                for found in self._detector.look_at(picture, region.scaled(_AROUND), self._least, 1):
                    faces.add(self._landmarks(picture, found.region))
        self._since += 1
        if len(faces.found) < min(at_least, self._most) and self._since > self._wait:
            self._search(picture, faces, at_least)
            self._since, self._wait = 0, min(max(2 * self._wait, _SEARCHES[0]), _SEARCHES[1])
        if not faces.found:
            for face in doubtful:
                faces.add(face)
        if len(faces.found) >= at_least:
            self._wait = min(self._wait, _SEARCHES[0])
        self._regions = [around(face) for face in faces.found]
        self._missed = [(region, age + 1) for region, age in self._missed if age < _MISSED and faces.lacks(region)]
        return sorted(faces.found, key=lambda face: -float(np.ptp(face[:, 0]) * np.ptp(face[:, 1])))

    def follow(self, picture: NDArray[np.uint8], landmarks: Float) -> Float | None:
        """The face of `landmarks` (478, 3) in a picture that comes just before or after theirs; None where it is not there.

        What `track` has seen is neither used nor changed. MediaPipe cannot do this: None.
        """
        if self._reference is not None:
            return None
        return self._landmarks(picture, around(landmarks))

    def close(self) -> None:
        """Free the nets."""
        if self._reference is None:
            del self._detector, self._mesh
        else:
            self._reference.close()

    def _landmarks(self, picture: Picture, region: Region, least: float | None = None) -> Float | None:
        if not region.side > 1:
            return None
        landmarks, sure = self._mesh.look_at(picture, region)
        return landmarks if sure >= (self._confidence if least is None else least) and np.isfinite(landmarks).all() else None

    def _search(self, picture: Picture, faces: _Faces, at_least: int) -> None:
        """Look closer, from near faces to far ones, until there are enough."""
        for sightings in rounds(picture, self._detector):
            for found in sightings:
                if faces.missing and faces.lacks(found.region):
                    aligned, _ = self._aligned(picture, found)
                    first = self._landmarks(picture, aligned.region) if aligned.logit >= max(_SURE, self._least) else None
                    if first is not None:  # what was seen small is placed roughly: look again
                        faces.add(self._landmarks(picture, around(first), max(_SURE_MESH, self._confidence)))
            if len(faces.found) >= min(at_least, faces.most):
                return

    def _aligned(self, picture: Picture, found: Sighting) -> tuple[Sighting, bool]:
        """A sighting looked at closely, its forehead up, and whether it was upside down.

        The detector finds faces that are upside down, too, the chin for the forehead; it is surer of them the right way round.
        """
        small, matrix = cut_out(picture, found.region.scaled(_ALIGNED), SEEN, cv2.BORDER_CONSTANT)
        upright = self._detector.look(small, LEAST, 1)
        turned = self._detector.look(np.ascontiguousarray(small[::-1, ::-1]), LEAST, 1)
        if turned and turned[0].logit > max(upright[0].logit + _UPSIDE_DOWN if upright else LEAST, self._least):
            (x, y, side, angle), logit = turned[0]
            return Sighting(Region(SEEN - x, SEEN - y, side, angle + np.pi).out_of(matrix), logit), True
        if not upright:
            return Sighting(found.region, -np.inf), False
        return Sighting(upright[0].region.out_of(matrix), upright[0].logit), False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Faces:
    """The faces of a picture, each once, at most `most`."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.found: list[Float] = []

    @property
    def missing(self) -> bool:
        return len(self.found) < self.most

    def lacks(self, region: Region) -> bool:
        """Whether there is none yet at this place."""
        return all(overlap(region, around(face)) < _SAME for face in self.found)

    def add(self, face: Float | None) -> bool:
        """Whether it was a face, and not there yet."""
        if face is None or not self.missing or not self.lacks(around(face)):
            return False
        self.found.append(face)
        return True
