"""A store of actors that several machines share: a folder, or an object store, through fsspec.

An actor lies in it as its files, in a folder of their own digest, and a manifest that names them with their hashes. The manifest comes last
and goes first, so that nobody sees half of an actor. A machine fetches an actor once, checks it, and keeps it in a cache of bounded size.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from engines.actor import Actor, Store, built_in, load_actor, save_actor, unknown
from engines.errors import ActorFault, Fault, UnknownActor
from realtime.clock import Clock, WallClock
from realtime.errors import SettingsFault

FORMAT = 1
FRESH_S = 1.0
"""For so long what a manifest said is believed."""
AWAY_S = 3.0
"""For so long a store that did not answer is not asked again."""
ANSWER_S, FETCH_S = 10.0, 300.0
"""A question is answered by then, and a file is there."""
YOUNG_S = 120.0
"""What was used since stays in the cache: somebody may be about to open it."""
MOST = 20 << 30
"""Bytes of the cache."""
MANIFEST = "manifest.json"
_USED = ".used"
_PIECE = 1 << 20
T = TypeVar("T")


class StoreFault(Fault):
    """The store of actors does not answer."""

    code = "store"
    status = 503
    again = True


class SharedStore:
    """Actors of a store at `url`, and those that ship. `cache` is a folder of this machine, for `most` bytes of them."""

    def __init__(self, url: str, cache: Path, most: int = MOST, clock: Clock | None = None) -> None:
        self.url, self.cache, self.most = url, cache, most
        self.stage = Store(cache / "new")
        """Where an actor is put together before it is published."""
        self._clock = clock or WallClock()
        self._shipped = Store(cache / "none")
        self._lock = threading.RLock()
        self._known: dict[str, tuple[float, dict[str, Any] | None]] = {}  # manifests: when they were read; None: there is none
        self._listed: tuple[float, list[str]] = (float("-inf"), [])
        self._away: tuple[float, str] = (float("-inf"), "")
        self._opened: tuple[Any, str] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process has it too: where it is, and nothing of what it knows."""
        return SharedStore, (self.url, self.cache, self.most)

    # what an actor store does

    def names(self) -> list[str]:
        """All actors, those that ship first; where the store does not answer, those that are here."""
        try:
            return [*built_in(), *(name for name in self._all() if name not in built_in())]
        except StoreFault:
            return self.held()

    def held(self) -> list[str]:
        """Those whose files are on this machine."""
        kept = {folder.parent.name for folder in self._kept()}
        return [*built_in(), *sorted(kept)]

    def folder(self, name: str) -> Path:
        """Where an actor of this name is put together. Raises ActorFault for a name that is none."""
        return self.stage.folder(name)

    def find(self, name: str) -> Path:
        """The folder of an actor on this machine: it is fetched where it is not there. Raises UnknownActor, ActorFault where it is damaged,
        and StoreFault where the store does not answer and it is not here."""
        return self._find(name, FRESH_S)

    def about(self, name: str) -> dict[str, int | float | str]:
        """What people are told of an actor; nothing is fetched for it."""
        if name in built_in():
            return self._shipped.about(name)
        try:
            about: dict[str, int | float | str] = self._manifest(name, FRESH_S)["about"]
            return dict(about)
        except StoreFault:
            if (kept := self._here(name)) is None:
                raise
            return Store(kept.parent).about(kept.name) | {"name": name}

    def preview(self, name: str) -> Path | None:
        """A picture of an actor, as a file; of an actor that is not here nothing else is fetched. None where it has none."""
        if name in built_in():
            return self._shipped.preview(name)
        try:
            manifest = self._manifest(name, FRESH_S)
        except StoreFault:
            if (kept := self._here(name)) is None:
                raise
            return kept / "preview.jpg" if (kept / "preview.jpg").is_file() else None
        if "preview.jpg" not in manifest["files"]:
            return None
        whole = self.cache / "actors" / name / manifest["digest"] / "preview.jpg"
        alone = self.cache / "previews" / name / f"{manifest['digest']}.jpg"
        if not whole.is_file() and not alone.is_file():
            self._fetch(name, manifest, "preview.jpg", alone)
        return whole if whole.is_file() else alone

    def load(self, name: str) -> Actor:
        """Load an actor by its name, as it is in the store now. While it is loaded its files stay in the cache."""
        folder = self._find(name, 0.0)
        if name in built_in():
            return load_actor(folder)
        try:
            return _held(load_actor(folder), folder)
        except ActorFault:  # it was whole when it came: what became of it here is mended
            self._drop(folder)
            folder = self._find(name, 0.0)
            return _held(load_actor(folder), folder)

    def add(self, actor: Actor, preview: bytes = b"") -> Path:
        """Put an actor into the store under its name. Raises ActorFault if the name is taken."""
        self._must_be_free(actor.name)
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder(actor.name))
        save_actor(actor, self.folder(actor.name), preview)
        self.publish(actor.name)
        return self.find(actor.name)

    def publish(self, name: str) -> None:
        """Put an actor that is in `stage` into the store. Raises ActorFault if the name is taken, StoreFault."""
        folder = self.stage.folder(name)
        try:
            self._must_be_free(name)
            files = {path.name: _described(path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")}
            digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:24]
            about = self.stage.about(name)
            manifest = json.dumps({"format": FORMAT, "name": name, "digest": digest, "about": about, "files": files}, indent=1)

            def put(fs: Any, base: str) -> None:
                fs.makedirs(f"{base}/{name}/{digest}", exist_ok=True)
                for file in files:
                    fs.put_file(str(folder / file), f"{base}/{name}/{digest}/{file}")
                _write(fs, f"{base}/{name}/{MANIFEST}", manifest.encode())

            self._ask(put, FETCH_S)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            self._forget(name)

    def remove(self, name: str) -> None:
        """Remove an actor, damaged or not, from the store; other machines let go of it within moments."""
        self.folder(name)
        if name in built_in():
            raise ActorFault(f"Actor {name!r} is built in and cannot be removed.", "`mytalk actor list` shows those that can.")

        def gone(fs: Any, base: str) -> bool:
            if not fs.exists(f"{base}/{name}"):
                return False
            with contextlib.suppress(FileNotFoundError):
                fs.rm_file(f"{base}/{name}/{MANIFEST}")
            with contextlib.suppress(FileNotFoundError):
                fs.rm(f"{base}/{name}", recursive=True)
            return True

        there = self._ask(gone, FETCH_S)
        self._forget(name)
        self._drop(self.cache / "actors" / name)
        self._drop(self.cache / "previews" / name)
        if not there:
            raise self._unknown(name)

    def changed(self) -> list[str]:
        """Actors that were on this machine and are no more in the store, or are others there now: their files are removed here, too."""
        found = []
        for folder in self._kept():
            name = folder.parent.name
            try:
                manifest = self._manifest(name, FRESH_S)
            except UnknownActor:
                self._drop(folder.parent)
                self._drop(self.cache / "previews" / name)
                found.append(name)
            except ActorFault:
                continue
            except StoreFault:
                break
            else:
                if folder.name != manifest["digest"] and not _in_use(folder):
                    self._drop(folder)
                    found.append(name)
        return found

    # the store's side

    def _must_be_free(self, name: str) -> None:
        with contextlib.suppress(UnknownActor):
            if name not in built_in():
                self._manifest(name, 0.0)
            raise ActorFault(f"There is an actor called {name!r} already.", "Choose another name, or remove that one first.")

    def _all(self) -> list[str]:
        with self._lock:
            when, names = self._listed
        if self._clock.now() - when < FRESH_S:
            return names

        def listed(fs: Any, base: str) -> list[str]:
            fs.invalidate_cache()
            return sorted({str(path).split("/")[-2] for path in fs.glob(f"{base}/*/{MANIFEST}")})

        names = [name for name in self._ask(listed, ANSWER_S) if _is_name(name)]
        with self._lock:
            self._listed = self._clock.now(), names
        return names

    def _manifest(self, name: str, fresh_s: float) -> dict[str, Any]:
        """What the store says of an actor. Raises UnknownActor, ActorFault, StoreFault."""
        self.folder(name)
        with self._lock:
            when, manifest = self._known.get(name, (float("-inf"), None))
        if self._clock.now() - when >= fresh_s:

            def read(fs: Any, base: str) -> bytes | None:
                fs.invalidate_cache(f"{base}/{name}")
                try:
                    return bytes(fs.cat_file(f"{base}/{name}/{MANIFEST}"))
                except FileNotFoundError:
                    return None

            text = self._ask(read, ANSWER_S)
            manifest = None if text is None else _understood(name, text)
            with self._lock:
                self._known[name] = self._clock.now(), manifest
        if manifest is None:
            raise self._unknown(name)
        return manifest

    def _unknown(self, name: str) -> UnknownActor:
        return unknown(name, self.names())

    def _forget(self, name: str) -> None:
        with self._lock:
            self._known.pop(name, None)
            self._listed = float("-inf"), []

    def _ask(self, what: Callable[[Any, str], T], seconds: float) -> T:
        """Do something with the store. Raises StoreFault where it does not answer in time, or at all."""
        with self._lock:
            until, words = self._away
        if self._clock.now() < until:
            raise _away(words)
        done: list[T] = []
        wrong: list[Exception] = []

        def work() -> None:
            try:
                done.append(what(*self._open()))
            except Exception as error:  # noqa: BLE001  the store's border: each kind of store raises its own
                wrong.append(error)

        thread = threading.Thread(target=work, daemon=True, name="store")
        thread.start()
        thread.join(seconds)
        if done:
            return done[0]
        if wrong and isinstance(wrong[0], Fault):
            raise wrong[0]
        words = f"{type(wrong[0]).__name__}: {wrong[0]}" if wrong else f"no answer in {seconds:g} s"
        with self._lock:
            self._away = self._clock.now() + AWAY_S, words
        raise _away(words) from (wrong[0] if wrong else None)

    def _open(self) -> tuple[Any, str]:
        """The store's file system and our folder in it."""
        if self._opened is None:
            import fsspec

            try:
                fs, base = fsspec.core.url_to_fs(self.url)
            except (ImportError, ValueError) as error:
                raise SettingsFault(f"The store {_shown(self.url)} cannot be used: {error}.", "See docs/fleet.md.") from error
            self._opened = fs, str(base).rstrip("/")
        fs, base = self._opened
        protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
        if protocol in ("file", "local") and not Path(base).is_dir():  # an object store has no folders that could be missing
            raise StoreFault(f"There is no store of actors at {base}.", "See that the folder is there: created once, or mounted.")
        return fs, base

    # this machine's side

    def _find(self, name: str, fresh_s: float) -> Path:
        self.folder(name)
        if name in built_in():
            return self._shipped.find(name)
        try:
            manifest = self._manifest(name, fresh_s)
        except StoreFault:
            if (kept := self._here(name)) is None:
                raise
            return kept
        folder = self.cache / "actors" / name / manifest["digest"]
        if not (folder / "actor.json").exists():
            with _locked(self.cache / f".{name}.lock"):  # whoever comes second waits for the first
                if not (folder / "actor.json").exists():
                    self._fetch_all(name, manifest, folder)
                    self._make_room(folder)
        with contextlib.suppress(OSError):
            os.utime(folder / _USED)
        return folder

    def _fetch_all(self, name: str, manifest: dict[str, Any], folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".new-", dir=folder.parent))
        try:
            for file in manifest["files"]:
                self._fetch(name, manifest, file, building / file)
            (building / _USED).touch()
            building.chmod(0o755)
            building.replace(folder)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise

    def _fetch(self, name: str, manifest: dict[str, Any], file: str, to: Path) -> None:
        """Fetch a file of an actor; what is there in the end is what was put there. Raises ActorFault, StoreFault."""
        to.parent.mkdir(parents=True, exist_ok=True)
        building = to.with_name(f".{to.name}.{os.getpid()}.{threading.get_ident()}.part")

        def get(fs: Any, base: str) -> bool:
            try:
                fs.get_file(f"{base}/{name}/{manifest['digest']}/{file}", str(building))
            except FileNotFoundError:
                return False
            return True

        try:
            there = self._ask(get, FETCH_S)
            if not there or _described(building) != manifest["files"][file]:
                what = "is not what was put there" if there else "is missing"
                raise _damaged(name, f"{file} {what}")
            building.replace(to)
        finally:
            building.unlink(missing_ok=True)

    def _kept(self) -> list[Path]:
        """The folders of the actors that are here."""
        return sorted(path.parent for path in (self.cache / "actors").glob("*/*/actor.json") if not path.parent.name.startswith(".new-"))

    def _here(self, name: str) -> Path | None:
        """The folder of an actor that is here, the one that was used last."""
        kept = [folder for folder in self._kept() if folder.parent.name == name]
        return max(kept, key=_used_at, default=None)

    def _make_room(self, newest: Path) -> None:
        """Remove what was not used for longest and is in no use, until the rest is small enough."""
        sizes = {folder: sum(file.stat().st_size for file in folder.iterdir()) for folder in self._kept()}
        total, now = sum(sizes.values()), _used_at(newest)
        for folder in sorted(sizes, key=_used_at):
            if total <= self.most:
                return
            if folder != newest and now - _used_at(folder) >= min(YOUNG_S, now) and not _in_use(folder):
                self._drop(folder)
                total -= sizes[folder]

    def _drop(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)


def store_at(url: str, home: Path, gigabytes: float) -> SharedStore:
    """The shared store that settings name: a folder, or an address of fsspec's. Raises SettingsFault."""
    if "://" in url:
        try:
            urlsplit(url)
        except ValueError as error:
            raise SettingsFault(f"{_shown(url)} is not an address of a store.", "Write a folder, or s3://BUCKET/FOLDER.") from error
    return SharedStore(url, home / "shared", int(gigabytes * (1 << 30)))


def _shown(url: str) -> str:
    """An address without a password in it."""
    return re.sub(r"//[^/@]*@", "//", url)


def _away(words: str) -> StoreFault:
    said = words.rstrip(".").splitlines()[0][:200] if words else "no answer"
    return StoreFault(
        f"The store of actors does not answer: {said}.", "See that it can be reached; actors that are here already can be talked with."
    )


def _damaged(name: str, what: str) -> ActorFault:
    return ActorFault(f"Actor {name} is damaged in the store: {what}.", f"Remove it (mytalk actor remove {name}) and enrol it again.")


def _described(path: Path) -> dict[str, Any]:
    """Size and hash of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return {"size": path.stat().st_size, "sha256": digest.hexdigest()}


def _understood(name: str, text: bytes) -> dict[str, Any]:
    """A manifest. Raises ActorFault for what is none, as none of whose words is believed before."""
    try:
        manifest: dict[str, Any] = json.loads(text)
        files, digest, about = manifest["files"], manifest["digest"], manifest["about"]
        good = (
            manifest["name"] == name
            and re.fullmatch(r"[0-9a-f]{24}", digest)
            and all(re.fullmatch(r"\w[\w.-]{0,63}", file) and set(said) == {"size", "sha256"} for file, said in files.items())
            and "actor.json" in files
        )
        known = {"name": name, "width": int(about["width"]), "height": int(about["height"]), "frames": int(about["frames"])}
        manifest["about"] = known | {"source": str(about["source"])}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(name, f"its {MANIFEST} cannot be read") from error
    if manifest["format"] != FORMAT:
        raise _damaged(name, f"it has format {manifest['format']}, this version reads {FORMAT}")
    if not good:
        raise _damaged(name, f"its {MANIFEST} is not one")
    return manifest


def _write(fs: Any, path: str, data: bytes) -> None:
    """Write a small file, whole or not at all: object stores do, in a folder it is renamed."""
    protocol = fs.protocol if isinstance(fs.protocol, str) else fs.protocol[0]
    if protocol not in ("file", "local"):
        fs.pipe_file(path, data)
        return
    building = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.part")
    try:
        building.write_bytes(data)
        building.replace(path)
    finally:
        building.unlink(missing_ok=True)


def _is_name(name: str) -> bool:
    try:
        Store(Path()).folder(name)
    except ActorFault:
        return False
    return True


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process and thread at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _held(actor: Actor, folder: Path) -> Actor:
    """The actor, whose folder counts as used as long as it is there."""
    descriptor = os.open(folder / _USED, os.O_RDWR | os.O_CREAT, 0o644)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    weakref.finalize(actor, os.close, descriptor)
    return actor


def _in_use(folder: Path) -> bool:
    """Whether a process has the actor of a folder loaded."""
    try:
        with (folder / _USED).open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _used_at(folder: Path) -> float:
    """Unix time at which an actor of the cache was asked for last."""
    try:
        return (folder / _USED).stat().st_mtime
    except FileNotFoundError:
        return 0.0
