"""The HTTP interface: what the map asks for, and small JSON answers for programs, tests and doctor."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import orjson
from fastapi import APIRouter, FastAPI, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from dashboards.answers import Answers
from dashboards.city_view import CityView, facts, properties
from dashboards.live import Broadcast
from dashboards.queries import Observer
from sensors.alarm_log import AlarmLog
from twin.errors import BusyError, ChengmaiError, InputError, RefusedError, StaleError, UnavailableError, UnknownError
from twin.trace import Question

FOREVER = {"cache-control": "public, max-age=31536000, immutable"}
FRESH = {"cache-control": "no-cache"}
MAX_BODY = 16 * 1024

AlarmNumber = Annotated[int, Path(ge=0, lt=2**63)]
"""The number of an alarm, as a database can hold it."""

Stuck = Annotated[Sequence[str], Query()]
"""Valves that cannot be closed, one parameter each."""

_STATUS: dict[type[ChengmaiError], int] = {
    UnknownError: 404,
    StaleError: 409,
    InputError: 422,
    RefusedError: 422,
    BusyError: 503,
    UnavailableError: 503,
}


class Acknowledgement(msgspec.Struct, forbid_unknown_fields=True):
    """Who acknowledges which version of an alarm, and why."""

    by: str
    version: int
    comment: str = ""


def answer(body: Any, status: int = 200) -> Response:
    """Return `body` as JSON that no cache keeps."""
    content = orjson.dumps(body, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    return Response(content, status, FRESH, "application/json")


def refusal(error: ChengmaiError) -> Response:
    """Return an error as JSON with its code and its one line."""
    status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 500)
    return answer({"error": error.code, "message": str(error)}, status)


def mount(
    server: FastAPI, *, alarms: AlarmLog, city: CityView, answers: Answers, observer: Observer, broadcast: Broadcast
) -> None:
    """Add every route that is not a page; call it before Dash takes the rest."""

    async def refused(_: Request, error: Exception) -> Response:
        assert isinstance(error, ChengmaiError)  # registered for these only
        return refusal(error)

    server.add_exception_handler(ChengmaiError, refused)
    server.include_router(_map_routes(city, observer))
    server.include_router(_question_routes(answers))  # before the assets: their ids take any path
    server.include_router(_state_routes(city, observer, broadcast))
    server.include_router(_alarm_routes(alarms, observer, broadcast))

    async def nothing() -> Response:
        return answer({"error": "E_UNKNOWN", "message": "no such path"}, 404)

    for path in ("/api", "/api/{rest:path}", "/tiles/{rest:path}", "/models/{rest:path}"):
        server.add_api_route(path, nothing, methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)


def _map_routes(city: CityView, observer: Observer) -> APIRouter:
    router = APIRouter()

    @router.get("/tiles/{zoom}/{x}/{y}.mvt")
    def tile(zoom: int, x: int, y: int) -> Response:
        body = city.tile(zoom, x, y)
        if not body:
            return Response(status_code=204, headers=FOREVER)
        headers = FOREVER | {"content-encoding": "gzip"}
        return Response(body, headers=headers, media_type="application/vnd.mapbox-vector-tile")

    @router.get("/models/{source}.glb")
    def model(source: str) -> Response:
        body = gzip.compress(city.mesh(source).glb, 6)
        return Response(body, headers=FOREVER | {"content-encoding": "gzip"}, media_type="model/gltf-binary")

    @router.get("/api/v1/map")
    def describe() -> Response:
        return answer(dataclasses.asdict(city.describe()))

    @router.get("/api/v1/map/sensors")
    async def sensors() -> Response:
        return answer(_sensor_features(observer))

    return router


def _sensor_features(observer: Observer) -> dict[str, Any]:
    """Return the placed devices as GeoJSON; ids are positions in the device list, `devices` names the list."""
    listed = observer.device_list
    features = [
        {
            "type": "Feature",
            "id": i,
            "geometry": {"type": "Point", "coordinates": place},
            "properties": {"device": device.id, "name": device.name, "system": device.system},
        }
        for i, (device, place) in enumerate(zip(listed.devices, listed.places, strict=True))
        if place is not None
    ]
    return {"type": "FeatureCollection", "devices": listed.version, "features": features}


def _state_routes(city: CityView, observer: Observer, broadcast: Broadcast) -> APIRouter:
    router = APIRouter()

    @router.get("/health")
    async def health() -> Response:
        ready = broadcast.situation is not None
        return answer({"status": "ok" if ready else "starting", "watchers": broadcast.watchers}, 200 if ready else 503)

    @router.get("/api/v1/status")
    async def status() -> Response:
        situation = broadcast.situation
        if situation is None:
            return answer({"error": "E_UNAVAILABLE", "message": "the server is starting"}, 503)
        return answer({**situation.status, "watchers": broadcast.watchers})

    @router.get("/api/v1/devices")
    async def devices() -> Response:
        listed = observer.device_list
        return answer(
            [
                {
                    "device": device.id,
                    "name": device.name,
                    "district": device.district,
                    "system": device.system,
                    "asset": device.asset,
                    "model": device.model,
                    "interval_s": device.interval.total_seconds(),
                    "place": place,
                    "points": [dataclasses.asdict(point) for point in device.points],
                }
                for device, place in zip(listed.devices, listed.places, strict=True)
            ]
        )

    @router.get("/api/v1/assets/{asset:path}")
    def asset(asset: str) -> Response:
        found = city.asset(asset)
        return answer(properties(found) | facts(found))

    return router


def _question_routes(answers: Answers) -> APIRouter:
    """Return the routes of what an event touches; a device stands for the asset that it is on."""
    router = APIRouter()

    def ask(asset: str, kind: str, to: str | None, stuck: Sequence[str]) -> Response:
        if kind not in set(Question):
            raise InputError(f"there is no trace {kind!r}", where="kind", expected=", ".join(Question))
        found = answers.ask(asset, Question(kind), to=to, stuck=stuck)
        return answer(dataclasses.asdict(found.answer) | {"features": found.features, "bounds": found.bounds})

    def trace(asset: str, kind: str, to: str | None = None, stuck: Stuck = ()) -> Response:
        return ask(asset, kind, to, stuck)

    def impact(asset: str, stuck: Stuck = ()) -> Response:
        return ask(asset, Question.IMPACT, None, stuck)

    def adjacency(asset: str) -> Response:
        return ask(asset, Question.ADJACENCY, None, ())

    def cascade(asset: str) -> Response:
        return ask(asset, Question.CASCADE, None, ())

    for place in ("/api/v1/assets/{asset:path}", "/api/v1/devices/{asset}"):
        for asked in (trace, impact, adjacency, cascade):
            router.add_api_route(f"{place}/{asked.__name__}", asked)
    return router


def _alarm_routes(alarms: AlarmLog, observer: Observer, broadcast: Broadcast) -> APIRouter:
    router = APIRouter()

    @router.get("/api/v1/alarms")
    async def listed() -> Response:
        situation = broadcast.situation
        return answer([] if situation is None else list(situation.alarms.values()))

    @router.get("/api/v1/alarms/{alarm}")
    def one(alarm: AlarmNumber) -> Response:
        found = alarms.get(alarm)
        return answer(observer.row(found) | {"evidence": msgspec.to_builtins(found.evidence)})

    @router.post("/api/v1/alarms/{alarm}/acknowledge")
    async def acknowledge(alarm: AlarmNumber, request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return answer({"error": "E_SIZE", "message": f"more than {MAX_BODY} bytes"}, 413)
        try:
            wish = msgspec.json.decode(body, type=Acknowledgement)
        except msgspec.MsgspecError as error:
            return answer({"error": "E_JSON", "message": str(error)}, 422)
        done = await run_in_threadpool(
            alarms.acknowledge, alarm, by=wish.by, comment=wish.comment, version=wish.version
        )
        return answer(observer.row(done))

    return router
