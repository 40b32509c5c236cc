"""A store of actors that machines share: fetched once, checked, kept within bounds, removed everywhere; a bad one harms no other."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from engines.actor import Actor, Store, built_in
from engines.errors import ActorFault, UnknownActor
from realtime.errors import SettingsFault
from realtime.front.proxy import REGISTRY
from realtime.server.found import Found
from realtime.server.keys import ENGINE
from realtime.store import AWAY_S, FRESH_S, SharedStore, StoreFault
from realtime.testing import VirtualClock
from tests.peers import Client, Peer, problem, serving, until
from tests.people import small_actor
from tests.test_front import front
from tests.test_uploads import enrolled


@pytest.fixture(scope="module")
def anna() -> Actor:
    return replace(small_actor(), name="anna")


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store that is a folder, and one that is none: as an object store."""
    if request.param == "folder":
        (tmp_path / "store").mkdir()
        yield str(tmp_path / "store")
    else:
        yield f"memory://{tmp_path.name}"
        fsspec.filesystem("memory").rm("/", recursive=True)


def two(url: str, tmp_path: Path, **more: Any) -> tuple[SharedStore, SharedStore, VirtualClock]:
    clock = VirtualClock()
    return SharedStore(url, tmp_path / "a", clock=clock, **more), SharedStore(url, tmp_path / "b", clock=clock, **more), clock


def files_of(url: str) -> tuple[Any, list[str]]:
    fs, base = fsspec.core.url_to_fs(url)
    return fs, fs.find(base)


def test_an_actor_is_found_on_all_machines_fetched_once_and_removed_from_all(url: str, tmp_path: Path, anna: Actor) -> None:
    here, there, clock = two(url, tmp_path)
    assert there.names() == list(built_in())
    with pytest.raises(UnknownActor):
        there.find("anna")
    here.add(anna, b"jpeg")
    with pytest.raises(ActorFault, match="already"):
        here.add(anna)
    clock.jump(FRESH_S)
    assert there.names() == [*built_in(), "anna"]
    about = there.about("anna")
    assert (about["name"], about["frames"]) == ("anna", len(anna.poses))
    assert there.held() == list(built_in())
    shown = there.preview("anna")
    assert shown is not None
    assert shown.read_bytes() == b"jpeg"
    assert there.held() == list(built_in())  # a preview alone is not the actor
    with ThreadPoolExecutor(8) as pool:
        folders = set(pool.map(lambda _: there.find("anna"), range(8)))
    (folder,) = folders
    assert there.held() == [*built_in(), "anna"]
    loaded = there.load("anna")
    np.testing.assert_array_equal(loaded.poses, anna.poses)
    assert loaded.frames[0].shape == anna.frames[0].shape
    fs, files = files_of(url)
    for file in files:  # it is here: its files are not fetched again
        if not file.endswith("manifest.json"):
            fs.rm_file(file)
    clock.jump(FRESH_S)
    assert there.find("anna") == folder
    assert pickle.loads(pickle.dumps(there)).find("anna") == folder  # noqa: S301  as processes are given it

    here.remove("anna")
    assert files_of(url)[1] == []
    clock.jump(FRESH_S)
    assert there.changed() == ["anna"]
    assert there.changed() == []
    assert not folder.exists()
    assert loaded.frames[5].any()  # a conversation that goes on is not disturbed
    with pytest.raises(UnknownActor):
        there.find("anna")
    for store in (here, there):
        with pytest.raises(UnknownActor):
            store.remove("anna")
    with pytest.raises(ActorFault, match="built in"):
        here.remove("presenter")


@pytest.mark.parametrize("damage", ["another", "cut", "missing", "manifest", "lies"])
def test_a_damaged_actor_is_one_clear_error_and_no_other_s(url: str, tmp_path: Path, anna: Actor, damage: str) -> None:
    here, there, _ = two(url, tmp_path)
    here.add(anna)
    here.add(replace(anna, name="bob"))
    fs, files = files_of(url)
    (frames,) = (file for file in files if "/anna/" in file and file.endswith("frames.mp4"))
    (manifest,) = (file for file in files if "/anna/" in file and file.endswith("manifest.json"))
    data = fs.cat_file(frames)
    if damage == "missing":
        fs.rm_file(frames)
    elif damage == "manifest":
        fs.pipe_file(manifest, b"{")
    elif damage == "lies":
        told = json.loads(fs.cat_file(manifest))
        told["files"]["../../../out"] = told["files"].pop("frames.mp4")
        fs.pipe_file(manifest, json.dumps(told).encode())
    else:
        fs.pipe_file(frames, data[:-100] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
    with pytest.raises(ActorFault, match="anna is damaged in the store") as caught:
        there.load("anna")
    assert "mytalk actor remove anna" in caught.value.hint
    assert there.load("bob").name == "bob"
    assert "anna" in there.names()
    assert not list((tmp_path / "b").rglob("*.part"))
    there.remove("anna")
    assert there.add(anna).is_dir()


def test_a_store_that_is_away_is_one_clear_error_and_what_is_here_goes_on(tmp_path: Path, anna: Actor) -> None:
    store = tmp_path / "store"
    store.mkdir()
    here, there, clock = two(str(store), tmp_path)
    here.add(anna, b"jpeg")
    here.add(replace(anna, name="bob"))
    there.find("anna")
    store.rename(tmp_path / "away")
    clock.jump(FRESH_S)
    with pytest.raises(StoreFault, match="no store of actors at") as caught:
        there.find("bob")
    assert caught.value.again
    assert caught.value.hint
    assert there.load("anna").name == "anna"
    assert there.about("anna")["name"] == "anna"
    assert there.names() == there.held() == [*built_in(), "anna"]
    assert there.changed() == []
    with pytest.raises(StoreFault):
        there.add(replace(anna, name="carl"))
    (tmp_path / "away").rename(store)
    assert there.load("bob").name == "bob"


def test_a_store_that_breaks_is_not_asked_again_at_once(tmp_path: Path, anna: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there, clock = two(f"memory://{tmp_path.name}", tmp_path)
    here.add(anna)
    asked = []

    def broken(self: Any, path: str, *_: Any, **__: Any) -> bytes:
        asked.append(path)
        raise TimeoutError("the bucket sleeps")

    with monkeypatch.context() as patch:
        patch.setattr("fsspec.implementations.memory.MemoryFileSystem.cat_file", broken)
        for _ in range(3):
            with pytest.raises(StoreFault, match="the bucket sleeps"):
                there.find("anna")
    assert len(asked) == 1
    clock.jump(AWAY_S)
    assert there.find("anna").is_dir()


def test_half_of_an_actor_is_none(url: str, tmp_path: Path, anna: Actor, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there, clock = two(url, tmp_path)
    fs, _ = files_of(url)
    put = type(fs).put_file

    def full(self: Any, source: str, *more: Any, **rest: Any) -> None:
        if source.endswith("frames.mp4"):
            raise OSError(28, "No space left on device")
        put(self, source, *more, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(type(fs), "put_file", full)
        with pytest.raises(StoreFault, match="No space"):
            here.add(anna)
    clock.jump(AWAY_S)
    assert there.names() == list(built_in())
    with pytest.raises(UnknownActor):
        there.find("anna")
    assert here.add(anna).is_dir()


def test_the_cache_is_bounded_and_keeps_what_is_used(tmp_path: Path, anna: Actor) -> None:
    (tmp_path / "store").mkdir()
    here, there, _ = two(str(tmp_path / "store"), tmp_path)
    names = [f"anna{at}" for at in range(4)]
    for name in names:
        here.add(replace(anna, name=name))
    size = sum(file.stat().st_size for file in here.find("anna0").iterdir())
    small = SharedStore(there.url, there.cache, int(2.5 * size))
    used = small.load("anna0")
    for at, name in enumerate(names[1:]):
        for folder in there.cache.glob("actors/*/*/.used"):  # all of it was long ago
            os.utime(folder, (1_000_000 + at, 1_000_000 + at))
        small.find(name)
    assert small.held() == [*built_in(), "anna0", "anna3"]  # the first is loaded, the last has just come
    del used
    here_again = small.find("anna1")
    assert here_again.is_dir()
    shutil.rmtree(here_again / "arrays.npz", ignore_errors=True)
    (here_again / "arrays.npz").write_bytes(b"rot")  # what becomes of it here is fetched anew
    assert small.load("anna1").name == "anna1"


def test_what_is_no_store_is_said(mytalk: Any, tmp_path: Path) -> None:
    done = mytalk("--store", tmp_path / "none", "actor", "show", "anna")
    assert (done.code, done.files) == (2, [])
    assert "There is no store of actors at" in done.err
    with pytest.raises(SettingsFault, match="cannot be used"):
        SharedStore("nosuch://x", tmp_path).find("anna")
    (tmp_path / "store").mkdir()
    assert mytalk("--store", tmp_path / "store", "actor", "remove", "anna").code == 2
    assert mytalk("--store", tmp_path / "store", "actor", "list").out.split() == list(built_in())


async def test_many_who_ask_for_an_actor_wait_for_one_fetch_and_a_replaced_one_is_forgotten(tmp_path: Path, anna: Actor) -> None:
    (tmp_path / "store").mkdir()
    here, there, clock = two(str(tmp_path / "store"), tmp_path)
    here.add(anna)
    forgotten: list[str] = []
    found = Found(there, clock, forgotten.append)
    first = await found.find("anna")
    here.remove("anna")
    here.add(replace(anna, opening_range=anna.opening_range * 1.1))
    clock.jump(FRESH_S)
    second = await found.find("anna")
    assert (first == second, forgotten) == (False, ["anna"])
    assert there.load("anna").opening_range > anna.opening_range
    with pytest.raises(UnknownActor):
        await found.find("nobody")
    found.close()


@pytest.mark.slow
@pytest.mark.timeout(300)  # an enrolment gives way to all else
async def test_who_is_enrolled_at_a_front_talks_on_any_machine_and_goes_from_all(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    stores = [SharedStore(str(tmp_path / "store"), tmp_path / name) for name in "ab"]
    async with AsyncExitStack() as stack:
        machines: list[Client] = [
            await stack.enter_async_context(serving(store, name=name, max_sessions=1)) for store, name in zip(stores, "ab", strict=True)
        ]
        await until(lambda: all(machine.server.app[ENGINE].answers for machine in machines))  # type: ignore[attr-defined]
        client = await front(stack, *(str(machine.make_url("/")) for machine in machines), token="")
        photo = (Store(Path()).find("presenter") / "preview.jpg").read_bytes()
        report = await enrolled(client, photo, headers={"Content-Type": "image/jpeg"})
        assert report["state"] == "done", report
        assert [len(store.held()) for store in stores].count(len(built_in())) == 2  # nobody has asked for it yet
        async with Peer(client, "anna") as one:
            await until(lambda: sum(store.held() == [*built_in(), "anna"] for store in stores) == 1)
            async with Peer(client, "anna") as other:
                await other.until(lambda: len(one.pictures) > 3 and len(other.pictures) > 3)
                assert {peer.url.rpartition("/")[2][0] for peer in (one, other)} == {"a", "b"}
                await problem(await client.delete("/v1/actors/anna"), 409, "in-use")
                assert (await client.delete(other.url)).status == 200
            assert (await client.delete(one.url)).status == 200
        await until(lambda: all(not row.said["busy"] for row in client.server.app[REGISTRY].rows()))  # type: ignore[attr-defined]
        assert (await client.delete("/v1/actors/anna")).status == 204
        await until(lambda: all(store.held() == list(built_in()) for store in stores))
        await problem(await client.delete("/v1/actors/anna"), 404, "unknown-actor")
