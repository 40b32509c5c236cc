"""The face tracker: a picture in, landmarks out."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.tracking.nets import SEEN, Detector, Mesh, Sighting
from engines.tracking.region import Float, Picture, Region, around, cut_out, overlap, whole
from engines.tracking.search import rounds

_LOOK_CLOSER = 12
"""Where nothing is found in a video, every so many pictures are searched closely: at 3840 x 2160 a search is worth six of them."""
_MISSED = 25  # pictures in which a face that was lost is looked for where it was
_AROUND = 1.7  # times its region
_ALIGNED = 1.3  # times its region: where the detector sees a face largest and whole
_UPSIDE_DOWN = 0.2  # logits by which a face must be surer the other way round
_SAME = 0.5  # regions that overlap by more are one face


class Tracker:
    """Follows faces through a sequence of pictures (MediaPipe's face mesh, with refined lips and irises).

    `faces` is the most faces that are followed. `video=False` forgets the past picture each time. `confidence` is what both nets,
    the one that finds faces and the one that gives landmarks, must at least have. A face that is followed is looked at where it was
    in the last picture; others are looked for in the whole picture, made small, where there are fewer than `faces`. Where
    nothing is found like this the picture is searched closely, in squares (`engines.tracking.search`): in a video the first picture
    without a face, and while there is none every twelfth. Faces may be turned in any way.
    """

    def __init__(self, faces: int = 1, *, video: bool = True, confidence: float = 0.5) -> None:
        self._detector, self._mesh = Detector(), Mesh()
        self._faces, self._video, self._confidence = faces, video, confidence
        self._least = float(np.log(confidence / (1 - confidence)))
        self._regions: list[Region] = []
        self._missed: list[tuple[Region, int]] = []
        self._searched = _LOOK_CLOSER

    def track(self, picture: NDArray[np.uint8], at_least: int = 1) -> list[Float]:
        """Landmarks of each face in an RGB picture (H, W, 3): a list of (478, 3) arrays, the largest face first.

        x and y are pixels from the picture's top left corner; z has the scale of x and grows away from the viewer. The picture is
        searched closely where there are fewer faces than `at_least`.
        """
        if not self._video:
            self._regions, self._missed, self._searched = [], [], _LOOK_CLOSER
        faces = _Faces(self._faces)
        for region in self._regions:
            if not faces.add(self._landmarks(picture, region)):
                self._missed.append((region, 0))
        if faces.missing:
            for found in self._detector.look_at(picture, whole(picture), self._least, self._faces, averaged=False):  # quick
                if faces.lacks(found.region):
                    faces.add(self._landmarks(picture, self._upright(picture, found)))
        for region, _ in self._missed:
            if faces.lacks(region):
                for found in self._detector.look_at(picture, region.scaled(_AROUND), self._least, 1):
                    faces.add(self._landmarks(picture, found.region))
        self._searched += 1
        if len(faces.found) < min(at_least, self._faces) and self._searched > _LOOK_CLOSER:
            self._search(picture, faces, at_least)
            self._searched = 1
        self._regions = [around(face) for face in faces.found]
        self._missed = [(region, age + 1) for region, age in self._missed if age < _MISSED and faces.lacks(region)]
        return sorted(faces.found, key=lambda face: -float(np.ptp(face[:, 0]) * np.ptp(face[:, 1])))

    def follow(self, picture: NDArray[np.uint8], landmarks: Float) -> Float | None:
        """The face of `landmarks` (478, 3) in a picture that comes just before or after theirs; None where it is not there.

        What `track` has seen is neither used nor changed.
        """
        return self._landmarks(picture, around(landmarks))

    def close(self) -> None:
        """Free the nets."""
        del self._detector, self._mesh

    def _landmarks(self, picture: Picture, region: Region | None) -> Float | None:
        if region is None or not region.side > 1:
            return None
        landmarks, sure = self._mesh.look_at(picture, region)
        return landmarks if sure >= self._confidence and np.isfinite(landmarks).all() else None

    def _search(self, picture: Picture, faces: _Faces, at_least: int) -> None:
        """Look closer, from near faces to far ones, until there are enough."""
        for round_ in rounds(picture, self._detector):
            for found in round_:
                if faces.missing and faces.lacks(found.region):
                    first = self._landmarks(picture, self._upright(picture, found, closer=True))
                    if first is not None:  # what was seen so small is placed roughly: look again
                        faces.add(self._landmarks(picture, around(first)))
            if len(faces.found) >= min(at_least, faces.most):
                return

    def _upright(self, picture: Picture, found: Sighting, closer: bool = False) -> Region | None:
        """The region of a face, its forehead up; None where it is none, looked at closely.

        The detector is surer of faces that are upright. One that was not seen `closer` stays as it was found unless it was upside down.
        """
        small, matrix = cut_out(picture, found.region.scaled(_ALIGNED), SEEN, cv2.BORDER_CONSTANT)
        as_found = self._detector.look(small, self._least, 1)
        turned = self._detector.look(np.ascontiguousarray(small[::-1, ::-1]), self._least, 1)
        if turned and turned[0].logit > (as_found[0].logit + _UPSIDE_DOWN if as_found else self._least + _UPSIDE_DOWN):
            x, y, side, angle = turned[0].region
            return Region(SEEN - x, SEEN - y, side, angle + np.pi).out_of(matrix)
        if not closer:
            return found.region
        return as_found[0].region.out_of(matrix) if as_found else None

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
