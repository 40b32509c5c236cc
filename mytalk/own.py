"""This program's own packages, whatever else bears their names.

`engines`, `native` and `realtime` are plain names, and a project may have folders that are called so. Where they lead elsewhere, ours are
loaded a second time as `mytalk.own.engines` and so on, from beside this package; what they import of each other is found there, too.
Where the names lead to ours, as they mostly do, nothing of this happens.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

NAMES = ("native", "engines", "realtime")
ROOT = Path(__file__).resolve().parent.parent
__path__ = [str(ROOT)]  # so that mytalk.own.engines is the folder beside us


def own(name: str) -> Any:
    """One of our modules by its name, such as "engines.actor"."""
    return import_module(name if _plain() else f"{__name__}.{name}")


@cache
def _plain() -> bool:
    """Whether the plain names lead to our packages. If so, from now on they do."""
    if not all(_is_ours(name) for name in NAMES):
        return False
    for name in NAMES:
        import_module(name)
    return True


def _is_ours(name: str) -> bool:
    module = sys.modules.get(name)
    try:
        places = list(module.__path__) if module else list((spec.submodule_search_locations or []) if (spec := find_spec(name)) else [])
    except (AttributeError, ValueError):  # a module without a folder, or one that was put there by hand
        return False
    return bool(places) and Path(places[0]).resolve() == ROOT / name


class _Finder:
    """Finds our modules under `mytalk.own`."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if not fullname.startswith(f"{__name__}."):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(SourceFileLoader):
    """Gives a module an import statement that finds our packages first."""

    def exec_module(self, module: ModuleType) -> None:
        """See `importlib.abc.Loader`."""
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": _import}
        super().exec_module(module)


def _import(
    name: str,
    globals: Mapping[str, object] | None = None,  # noqa: A002  as Python calls it
    locals: Mapping[str, object] | None = None,  # noqa: A002
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """What `import` does in our modules."""
    if level or name.partition(".")[0] not in NAMES:
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    ours = f"{__name__}.{name}"
    if fromlist:
        return builtins.__import__(ours, globals, locals, fromlist, 0)
    import_module(ours)
    return sys.modules[f"{__name__}.{name.partition('.')[0]}"]


sys.meta_path.insert(0, _Finder())  # at once: a process of ours finds itself here by the name of a module alone
