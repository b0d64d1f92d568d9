"""The watch over ingest that the settings ask for: metrics on a port, and the dead man's signal to the outside."""

from __future__ import annotations

import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager

from dashboards.settings import Settings


@contextmanager
def watched(settings: Settings) -> Generator[None]:
    """Watch over the districts of `settings` as long as this is held, by the heart-beats in their spools.

    Nothing is started that no setting asks for. SettingsError for an address or URL that is none, BusyError for a
    port that is taken.
    """
    from ingest.watch.dead_man import DeadMan  # noqa: PLC0415  # slow to import, and few installations ask for it
    from ingest.watch.heartbeats import Heartbeats  # noqa: PLC0415  # as above
    from ingest.watch.metrics import serving  # noqa: PLC0415  # as above
    from sensors.leases import spools  # noqa: PLC0415  # as above
    from sensors.operations import connect  # noqa: PLC0415  # as above

    monitor, url = settings.monitor, settings.monitor.dead_man_url.get_secret_value()
    if not (monitor.metrics or url):
        yield
        return
    with ExitStack() as held:
        engine = connect(settings.operations_url())
        held.callback(engine.dispose)
        paths = {district: settings.spool_of(district) for district in settings.districts}
        heartbeats = Heartbeats(paths, lambda: spools(engine))
        held.callback(heartbeats.close)
        if monitor.metrics:
            held.enter_context(serving(monitor.metrics, heartbeats))
        if url:
            stop = threading.Event()
            man = DeadMan(url, monitor.dead_man_s, heartbeats)
            thread = threading.Thread(target=man.run, args=(stop,), name="dead man", daemon=True)
            thread.start()
            held.callback(stop.set)
        yield


__all__ = ["watched"]
