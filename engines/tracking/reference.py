"""The reference: MediaPipe itself (extra `mediapipe`), behind the same call."""

from __future__ import annotations

import os
import warnings
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engines.errors import BackendFault
from engines.face import POINTS
from engines.tracking.region import Float


class MediaPipe:
    """See `engines.tracker.Tracker`. It looks for faces in the whole picture only. Raises BackendFault where it is not installed."""

    def __init__(self, faces: int = 1, *, video: bool = True, confidence: float = 0.5) -> None:
        os.environ.setdefault("GLOG_minloglevel", "2")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its protobuf code warns on every call
            try:
                from mediapipe.python.solutions.face_mesh import FaceMesh
            except ImportError as error:
                raise BackendFault(
                    "MediaPipe is not installed.", "pip install 'mytalk-live[mediapipe]', with Python 3.11 or 3.12."
                ) from error
        self._mesh = FaceMesh(
            static_image_mode=not video,
            max_num_faces=faces,
            refine_landmarks=True,
            min_detection_confidence=confidence,
            min_tracking_confidence=confidence,
        )

    def track(self, picture: NDArray[np.uint8]) -> list[Float]:
        """See `engines.tracker.Tracker.track`."""
        height, width = picture.shape[:2]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._mesh.process(np.ascontiguousarray(picture)).multi_face_landmarks
        scale = np.array([width, height, width], np.float32)
        faces = [np.array([(p.x, p.y, p.z) for p in face.landmark], np.float32) * scale for face in found or ()]
        faces = [face for face in faces if len(face) == POINTS and np.isfinite(face).all()]
        return sorted(faces, key=lambda face: -float(np.ptp(face[:, 0]) * np.ptp(face[:, 1])))

    def close(self) -> None:
        """Free the graph."""
        self._mesh.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
