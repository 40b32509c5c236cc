"""Enrolment: a video or photo becomes an actor."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal
from zlib import crc32

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import face
from engines.actor import Actor, References
from engines.alive import after, bring_to_life
from engines.chips import chip
from engines.chips import whole as whole_chip
from engines.covered import covered, dissolves, hides, look
from engines.errors import FaceFault
from engines.film import cast, empty, grades, jumps, places, told
from engines.frames import Frames, Picture, write_frames
from engines.identity import aligned, nearest
from engines.motion import rest
from engines.motion.space import habit
from engines.shots import Cutter, Shots, find_shots, parted, whole
from engines.tracker import Tracker
from native.planes import cut, to_rgb

Float = NDArray[np.float32]

LOST = 0.2  # more than this share of frames without the face is too much
LEAST, SCARCE = 25, 0.2  # fewer frames with the face than this, and less than this share, are too few
SMALLEST = 14.0  # pixels between the eyes
FARTHEST = 60.0  # degrees that the head may be turned, in the median
REFERENCES = 48
CROP = 448  # a reference is kept with at most this many pixels a side
_CROP_CENTRE, _CROP_REACH = np.array([0.0, 1.15, 0.0], np.float32), 1.55  # head's frame, IOD
_OF_EACH = 12  # references at least, of shots that are graded alike
_GRADED = 8.0  # grey levels of the skin between shots that are graded otherwise
_FACES = 4  # looked for at once
_CHIN = 152  # a landmark
_FADE = 5  # frames over which the mouth fades where the face is lost
_KEPT = 200 << 20  # bytes of pictures in which the face was not found: 67 of 1920 x 1080, 16 of 3840 x 2160
_NEAR = 1.5  # IOD that a face may move between frames where there are several


@dataclass(frozen=True)
class Tracks:
    """What the tracker saw of one face in N frames."""

    landmarks: Float
    """(N, 478, 3) pixels; frames without the face are bridged from their neighbours."""
    seen: NDArray[np.bool_]
    """(N,) whether the face was found."""
    faces: int
    """The most faces that were seen in a frame."""


class Follower:
    """Follows one face through pictures: the largest, or the `number`-th by size (1, 2, ...) where it is first seen.

    Where it is found after pictures without it, it is followed backwards through them too: it may have been there before it was noticed.
    Where another shot begins it is looked for anew: of several faces, the one that is most like the one followed before.
    """

    def __init__(self, tracker: Tracker, number: int | None = None) -> None:
        self._tracker, self._number = tracker, number
        self._found: list[Float | None] = []
        self._last: Float | None = None
        self._most = 0
        self._without: deque[Picture] = deque()  # the pictures since it was last seen, the newest that fit
        self._who: NDArray[np.uint8] | None = None  # the face that is followed, aligned

    def see(self, picture: Picture, begins: bool = False) -> None:
        """Look at the next picture (I420); with it another shot `begins`."""
        if begins:
            self._last = None
            self._without.clear()
        faces = self._tracker.track(to_rgb(picture), self._number or 1 if self._last is None else 1)
        self._most = max(self._most, len(faces))
        if self._last is not None:
            last = self._last
            faces = sorted(faces, key=lambda f: _apart(f, last))
            if self._most > 1 and faces and _apart(faces[0], last) > _NEAR:
                faces = []  # somebody else
        elif self._who is not None:
            if len(faces) > 1:
                faces = [faces[nearest(self._who, [aligned(picture, one) for one in faces])]]
        elif self._number is not None:
            faces = faces[self._number - 1 : self._number]
        if faces:
            if self._last is None:
                self._who = aligned(picture, faces[0])
            self._go_back(faces[0])
            self._last = faces[0]
        else:
            self._without.append(picture)
            while sum(kept.nbytes for kept in self._without) > _KEPT:
                self._without.popleft()
        self._found.append(faces[0] if faces else None)

    def _go_back(self, landmarks: Float) -> None:
        """Follow a face that was found again through the pictures before."""
        for at, picture in enumerate(reversed(self._without), 1):
            before = self._tracker.follow(to_rgb(picture), landmarks)
            if before is None:
                break
            self._found[-at] = landmarks = before
        self._without.clear()

    @property
    def last(self) -> Float | None:
        """(478, 3) the face in the last picture, if it was found there."""
        return self._found[-1] if self._found else None

    def tracks(self) -> Tracks:
        """What was seen. Raises FaceFault where there were no pictures, no face, or no such face."""
        if not self._found:
            raise FaceFault("The video has no pictures.", "Give one with at least a frame.")
        seen = np.array([f is not None for f in self._found])
        if not seen.any():
            if self._most and self._number is not None:
                raise FaceFault(f"There is no face number {self._number}: {self._most} seen at once.", f"Choose --face 1 to {self._most}.")
            raise FaceFault("No face was found.", "Give a picture in which a face looks at the camera, well lit and not too small.")
        at = np.flatnonzero(seen)
        known = np.stack([f for f in self._found if f is not None])
        after = np.searchsorted(at, np.arange(len(seen))).clip(0, len(at) - 1)
        before = (after - (at[after] > np.arange(len(seen)))).clip(0)
        span = np.maximum(at[after] - at[before], 1)
        share = ((np.arange(len(seen)) - at[before]) / span).clip(0, 1)[:, None, None]
        return Tracks((known[before] * (1 - share) + known[after] * share).astype(np.float32), seen, self._most)


def _apart(a: Float, b: Float) -> float:
    """Distance of two faces' eyes, in IOD."""
    return float(np.linalg.norm((face.eye_centres(a) - face.eye_centres(b)).mean(0)[:2]) / max(float(face.iod(b)), 1.0))


def check(tracks: Tracks, warn: Callable[[str], None], shots: Shots | None = None, apart: NDArray[np.bool_] | None = None) -> None:
    """Raise FaceFault where the tracks cannot make an actor; warn of what was decided or bridged.

    apart: (N,) frames in which the face need not be: of no shot, of other people, of shots without a face.
    """
    lost = ~tracks.seen if apart is None else ~tracks.seen & ~apart
    counted = np.ones_like(lost) if shots is None or shots.count == 1 else _most_seen(tracks.seen, shots)
    if tracks.seen.sum() < LEAST and tracks.seen.mean() < SCARCE:
        raise FaceFault(
            f"The face is seen in {tracks.seen.sum()} of {len(lost)} frames only.", "Give a video in which one person is seen for longer."
        )
    if (lost & counted).sum() > LOST * (counted & ~apart if apart is not None else counted).sum():
        raise FaceFault(
            f"The face is lost in {lost.sum()} of {len(lost)} frames (at 25 a second: {_ranges(np.flatnonzero(lost))}).",
            "Cut those parts away, or give a video in which the face stays in view.",
        )
    distance = float(np.median(face.iod(tracks.landmarks[tracks.seen])))
    if distance < SMALLEST:
        raise FaceFault(
            f"The face is too small: {distance:.0f} pixels between the eyes, at least {SMALLEST:.0f} are needed.",
            "Give a video with more pixels, or cut it closer to the face.",
        )
    turned = np.degrees(face.angles(face.pose(tracks.landmarks[tracks.seen])))
    yaw = float(np.median(np.abs(turned[:, 0])))
    if yaw > FARTHEST:
        raise FaceFault(
            f"The face is turned too far: {yaw:.0f} degrees, at most {FARTHEST:.0f} are allowed.", "Give one that looks at the camera."
        )
    if tracks.faces > 1:
        warn(f"{tracks.faces} faces are seen: the largest at the start is taken (--face N chooses another).")
    if lost.any():
        warn(f"The face is lost in {lost.sum()} of {len(lost)} frames ({_ranges(np.flatnonzero(lost))}): bridged.")


def _most_seen(seen: NDArray[np.bool_], shots: Shots) -> NDArray[np.bool_]:
    """(N,) frames of shots in most of whose frames the face is `seen` (N,)."""
    share = np.bincount(shots.number, seen, shots.count) / np.bincount(shots.number, minlength=shots.count)
    return np.asarray(share[shots.number] > 0.5, np.bool_)


def _ranges(frames: NDArray[np.int64]) -> str:
    """Frame numbers in words: 3-17, 40, ... ."""
    parts = np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1)
    words = [str(p[0]) if len(p) == 1 else f"{p[0]}-{p[-1]}" for p in parts]
    return ", ".join(words[:6]) + (", ..." if len(words) > 6 else "")


def smooth(values: Float, cuts: NDArray[np.int64], sigma: float = 0.8) -> Float:
    """A Gaussian over time (axis 0), without lag, not across cuts (the frames where a new shot begins)."""
    radius = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    kernel /= kernel.sum()
    pieces = []
    for piece in np.split(values, cuts):
        padded = np.pad(piece, [(radius, radius), *[(0, 0)] * (values.ndim - 1)], mode="edge")
        pieces.append(sum(kernel[k] * padded[k : k + len(piece)] for k in range(len(kernel))))
    return np.concatenate(pieces).astype(np.float32)


def cuts_of(landmarks: Float) -> NDArray[np.int64]:
    """Frames in which the head is suddenly elsewhere: another shot begins."""
    if len(landmarks) < 2:
        return np.zeros(0, np.int64)
    step = np.linalg.norm(np.diff(face.eye_centres(landmarks).mean(-2)[:, :2], axis=0), axis=-1)
    return np.flatnonzero(step > 0.6 * face.iod(landmarks)[1:]) + 1


def choose(motion: Float, poses: Float, allowed: NDArray[np.bool_], most: int = REFERENCES) -> NDArray[np.int64]:
    """Frames to take references from: spread over mouth shapes and poses, the calmest mouth first.

    Farthest-point choice over the lips' motion (N, L, 2) and the head's angles; `allowed` (N,) leaves frames out.
    """
    lips = motion[:, : len(face.LIPS)].reshape(len(motion), -1) / np.sqrt(len(face.LIPS))
    places = np.concatenate([lips, 0.25 * face.angles(poses)], 1)
    start = int(np.argmin(np.where(allowed, face.opening(motion), np.inf)))
    chosen = [start]
    distance = np.linalg.norm(places - places[start], axis=1)
    while len(chosen) < min(most, int(allowed.sum())):
        distance[~allowed] = -1
        at = int(np.argmax(distance))
        if distance[at] <= 1e-3:
            break
        chosen.append(at)
        distance = np.minimum(distance, np.linalg.norm(places - places[at], axis=1))
    return np.sort(np.array(chosen))


def choose_of_each(motion: Float, poses: Float, allowed: NDArray[np.bool_], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """As `choose`, of each group (N,) of frames in turn: more of the larger ones, of none fewer than its share of `REFERENCES`."""
    sizes = np.bincount(group, allowed)
    shares = np.maximum(REFERENCES * sizes / sizes.sum(), min(REFERENCES / len(sizes), _OF_EACH))
    return np.sort(
        np.concatenate([
            choose(motion, poses, allowed & (group == one), round(share)) for one, share in enumerate(shares) if sizes[one] and round(share)
        ])
    )  # fmt: skip


def alike(grade: Float) -> NDArray[np.int64]:
    """A number (S,) for each of S shots of these `grades` (S, 3): the same for those that are graded alike."""
    number = np.zeros(len(grade), np.int64)
    kinds: list[Float] = []
    for shot in np.flatnonzero(~np.isnan(grade[:, 0])):
        away = [float(np.abs(kind - grade[shot]).max()) for kind in kinds]
        if not away or min(away) > _GRADED:
            kinds.append(grade[shot])
            away.append(0.0)
        number[shot] = int(np.argmin(away))
    return number


def make_references(frames: Sequence[Picture], chosen: NDArray[np.int64], poses: Float, motion: Float) -> References:
    """Cut the crops of the chosen frames. poses (N, 3, 4) and motion (N, L, 2) are of all frames."""
    height, width = frames[int(chosen[0])].shape[0] * 2 // 3, frames[int(chosen[0])].shape[1]
    size = np.ceil(face.unit(poses[chosen]) * 2 * _CROP_REACH)
    side = int(min(size.max(), CROP))
    pictures, crops = [], []
    for frame in chosen:
        centre = face.from_head(_CROP_CENTRE[None], poses[frame])[0, :2]
        corner = np.round(centre - size.max() / 2)  # whole pixels: a crop at the frame's scale is not resampled
        scale = side / size.max()
        low = np.clip(np.floor(corner / 2).astype(int) * 2, 0, [width - 2, height - 2])
        high = np.clip(np.ceil((corner + size.max()) / 2).astype(int) * 2 + 2, low + 2, [width, height])
        part = to_rgb(cut(frames[int(frame)], (int(low[0]), int(low[1])), (int(high[1] - low[1]), int(high[0] - low[0]))))
        matrix = np.array([[scale, 0, (low[0] - corner[0]) * scale], [0, scale, (low[1] - corner[1]) * scale]])
        if scale < 1:  # against aliasing, since warpAffine does not average
            part = np.asarray(cv2.GaussianBlur(part, (0, 0), 0.4 / scale), np.uint8)
        pictures.append(cv2.warpAffine(part, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))
        crops.append([*corner, scale])
    return References(
        frame=chosen.astype(np.int32), pictures=np.stack(pictures).astype(np.uint8),
        crops=np.array(crops, np.float32), motion=motion[chosen],
    )  # fmt: skip


def make_actor(
    name: str,
    frames: Sequence[Picture],
    landmarks: Float,
    seen: NDArray[np.bool_],
    *,
    loop: Literal["to-and-fro", "round"] = "to-and-fro",
    use: NDArray[np.bool_] | None = None,
    shots: Shots | None = None,
    hidden: NDArray[np.bool_] | None = None,
    source: str = "",
) -> Actor:
    """An actor from N pictures and their landmarks (N, 478, 3).

    `use` (N,) says from which frames the mouth may be learned (neutral, range, references); of the others only the
    landmarks above the nose are read. All that were seen, if not given. `shots`: where those frames belong; one shot if not given.
    `hidden`: those in which something is before the mouth; it is made in none of them.
    """
    shots = whole(len(landmarks)) if shots is None else shots
    cuts = np.union1d(cuts_of(landmarks), shots.cuts)
    use = seen if use is None else use & seen
    free = seen if hidden is None else seen & ~hidden
    if (use & free).any():  # who wears a mask throughout has a face, too
        use = use & free
    heads = face.to_head(landmarks[use], face.pose(landmarks[use]))
    own = np.median(heads, 0).astype(np.float32)
    poses = face.pose(smooth(landmarks, cuts), own)  # the person's own face as template: steadier than the mean one
    motion = np.stack([face.motion_onto(points[face.MOTION, :2], pose, own) for points, pose in zip(landmarks, poses, strict=True)])
    mouth = rest.estimate(motion[use], heads)
    neutral = face.with_motion(own, mouth.rest)
    grade = grades(landmarks, use, shots, frames) if shots.count > 1 else None
    chosen = choose(motion, poses, use) if grade is None else choose_of_each(motion, poses, use, alike(grade)[shots.number])
    references = make_references(frames, chosen, poses, motion)
    height, width = frames[0].shape[0] * 2 // 3, frames[0].shape[1]
    return Actor(
        name=name, size=(width, height), loop=loop, poses=poses, neutral=neutral,
        opening_range=mouth.opening_range, width_range=mouth.width_range, references=references, frames=frames, source=source,
        habit=habit(motion[use]), shown=shown_where(free, cuts), guessed=(mouth.rest_error, mouth.range_error),
        motion=np.where(use[:, None, None], motion, np.nan).astype(np.float32),
        resting=np.where(use, face.lips_apart(motion, mouth.rest), np.inf).astype(np.float32),
        shot=shots.number if grade is not None else None, grade=grade,
    )  # fmt: skip


def shown_where(seen: NDArray[np.bool_], cuts: NDArray[np.int64]) -> Float | None:
    """How much of the made mouth is to be shown in each frame (N,), 0..1: it fades out before the face is lost (`seen` False).

    A hand before the mouth, or a head turned away: where the face was, nothing is painted. None where it is seen throughout.
    """
    if seen.all():
        return None
    at, shown = np.arange(len(seen)), np.ones(len(seen), np.float32)
    for shot in np.split(at, cuts):
        lost = shot[~seen[shot]]
        if len(lost):
            apart = np.abs(shot[:, None] - lost).min(1)
            shown[shot] = np.clip((apart - 1) / _FADE, 0, 1)
    return shown


def _of_one(tracks: Tracks, shots: Shots, frames: Sequence[Picture], chosen: bool, warn: Callable[[str], None]) -> Tracks:
    """What was tracked, but of one person alone, in the shots of a film; `check`ed. `chosen`: by --face."""
    first = int(np.flatnonzero(tracks.seen)[0]) if chosen else None
    found = cast(tracks.landmarks, tracks.seen, shots, frames, first)
    if not found.seen.any():
        raise FaceFault("A face is seen in dissolves, fades and flashes only.", "Give a video in which it stays in view.")
    own = replace(tracks, landmarks=found.landmarks, seen=found.seen)
    for sentence in told(found, shots, chosen, _ranges):
        warn(sentence)
    check(own, warn, shots, shots.between | found.strangers | empty(found, shots))
    return own


def _before_mouth(hidden: NDArray[np.bool_], seen: NDArray[np.bool_]) -> str:
    """What is said of frames in which something is before the mouth."""
    if hidden.sum() > 0.9 * seen.sum():
        return "The mouth is nowhere to be seen, something is before it: the film is shown as it is."
    return f"Something is before the mouth in frames {_ranges(np.flatnonzero(hidden))}: shown as they are."


def _beyond(tracks: Tracks, picture: Picture) -> str:
    """What is said where a part of the mouth or the chin is not in the picture; "" where both are."""
    size = np.array([picture.shape[1], picture.shape[0] * 2 // 3])
    points = tracks.landmarks[tracks.seen][:, [*face.LIPS, _CHIN], :2]
    out = np.median(((points < 0) | (points > size - 1)).any(-1), 0) > 0.5
    if out[:-1].any():
        return "The mouth is beyond the picture's edge in part: what is there cannot be made. Give a picture with more room below the face."
    return "The chin is beyond the picture's edge: the jaw will move less than it should." if out[-1] else ""


def counted(pictures: Iterable[Picture], progress: Callable[[int], None] | None) -> Iterator[Picture]:
    """The pictures; `progress` is told how many have passed."""
    for count, picture in enumerate(pictures, 1):
        yield picture
        if progress is not None:
            progress(count)


def enrol(
    pictures: Iterable[Picture],
    folder: Path,
    name: str,
    *,
    face_number: int | None = None,
    still: bool = False,
    source: str = "",
    warn: Callable[[str], None] = lambda sentence: None,
    progress: Callable[[int], None] | None = None,
) -> Actor:
    """Turn pictures (I420, 25 a second, all of one size; a photo is one picture) into an actor.

    The pictures pass once; they are kept compressed in `folder`/frames.mp4, which the actor reads from. A photo gets an idle loop
    (`engines.alive`), the same each time, unless it is to stay `still`. `progress` is told the number of pictures seen or
    made. Raises FaceFault where no usable face is found.
    """
    path = folder / "frames.mp4"
    first: list[Picture] = []
    cutter = Cutter()
    chips: list[NDArray[np.uint8] | None] = []
    with Tracker(_FACES) as tracker:
        follower = Follower(tracker, face_number)

        def passing() -> Iterator[Picture]:
            for picture in pictures:
                follower.see(picture, cutter.see(picture))
                chips.append(None if follower.last is None else chip(picture, face.pose(follower.last)))
                if not first:
                    first.append(picture)
                yield picture

        write_frames(path, counted(passing(), progress))
        tracks = follower.tracks()
    if len(tracks.seen) > 1:
        kept = Frames(path, len(tracks.seen))
        shots = find_shots(cutter.thumbs, jumps(tracks.landmarks, tracks.seen), places(tracks.landmarks))
        looks = look(chips, shots)
        shots = parted(shots, dissolves(looks, cutter.thumbs, shots))
        tracks = _of_one(tracks, shots, kept, face_number is not None, warn)
        hidden = covered(looks, chips, tracks.seen, shots)
        if hidden.any():
            warn(_before_mouth(hidden, tracks.seen))
        elif beyond := _beyond(tracks, kept[0]):
            warn(beyond)
        return make_actor(name, kept, tracks.landmarks, tracks.seen, shots=shots, hidden=hidden, source=source)
    check(tracks, warn)
    if beyond := _beyond(tracks, first[0]):
        warn(beyond)
    elif chips[0] is not None and hides(whole_chip(chips[0])):
        warn("Something seems to be before the mouth: the mouth is made over it. Give a photo in which it is to be seen.")
    if still:
        return make_actor(name, Frames(path, 1), tracks.landmarks, tracks.seen, source=source)
    photo = make_actor(name, first, tracks.landmarks, tracks.seen, loop="round", source=source)
    moves, living = bring_to_life(first[0], tracks.landmarks[0], np.random.default_rng(crc32(first[0].tobytes())))
    frames = Frames(path, write_frames(path, counted(living, progress), preset="ultrafast"))  # short, and somebody waits
    motion, resting = (None if value is None else np.repeat(value, len(frames), 0) for value in (photo.motion, photo.resting))
    return replace(photo, poses=after(moves, photo.poses[0]), frames=frames, motion=motion, resting=resting)
