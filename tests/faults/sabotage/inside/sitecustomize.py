"""Python runs this at its start where this folder is on the path (module `site`): see `tests.faults.sabotage`."""

from __future__ import annotations

import queue
import sys
import threading
import time
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

LATE_S = 0.3
"""How long after the acknowledgement the readings go to disk."""


class _Finder(MetaPathFinder):
    """Finds `ingest.spool` as usual, and has it changed once it is loaded."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != "ingest.spool":
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        commit_late(module.Spool)


def commit_late(spool: Any) -> None:
    """Have `Spool.commit` return before anything is on disk."""
    commit = spool.commit
    groups: queue.Queue[tuple[Any, tuple[Any, ...]]] = queue.Queue()

    def write() -> None:
        while True:
            one, arguments = groups.get()
            time.sleep(LATE_S)
            commit(one, *arguments)

    def promise(self: Any, *arguments: Any) -> None:
        groups.put((self, arguments))

    threading.Thread(target=write, daemon=True).start()
    spool.commit = promise


sys.meta_path.insert(0, _Finder())
