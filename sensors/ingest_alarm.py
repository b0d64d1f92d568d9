"""What ingest says of itself: the rules of its own alarms, and the sentence of each.

They are ordinary alarms of the kind `DetectionKind.INGEST`, about ``ingest:{district}`` or, where one device sends
what cannot be taken, about ``device:{device}``. When they are raised is judged in `ingest.watch.monitor`.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias

from sensors.detection import Subject
from sensors.device import DeviceId

Form: TypeAlias = Literal["span", "share", "size", "count"]
"""How a value is read: seconds, a share of 1, bytes, or a number of things."""


class IngestRule(StrEnum):
    """What can be wrong with ingest itself, or with how a device sends."""

    DISK = "spool_disk"
    BACKLOG = "spool_backlog"
    UNWRITABLE = "spool_unwritable"
    LEDGER = "ledger"
    STORE = "store"
    STORE_LOSES = "store_loses"
    CLOCK = "clock"
    BROKER = "broker"
    REFUSED = "refused"
    DETECTORS = "detectors"
    DEVICE_CLOCK = "device_clock"
    DEVICE_RATE = "device_rate"


class _Said(NamedTuple):
    zh: str
    en: str
    form: Form = "count"


_SAID: Mapping[str, _Said] = {
    IngestRule.DISK: _Said("数据暂存盘将满，剩余 {}", "the spool's disk is filling up, {} left", "size"),
    IngestRule.BACKLOG: _Said("读数积压，最早的已等待入库 {}", "readings pile up, the oldest waits for {}", "span"),
    IngestRule.UNWRITABLE: _Said(
        "数据暂存文件写不进去已 {}，回执停发，数据留在消息服务器和设备中",
        "the spool has not been writable for {}; receipts have stopped, readings stay with broker and devices",
        "span",
    ),
    IngestRule.LEDGER: _Said(
        "账目不平，{} 条读数去向不明", "the ledger does not balance, readings unaccounted for: {}"
    ),
    IngestRule.STORE: _Said(
        "读数库连不上已 {}，读数暂存本机", "the store has not answered for {}; readings wait in the spool", "span"
    ),
    IngestRule.STORE_LOSES: _Said(
        "读数库收下的读数有 {} 条读不回来，正在重写", "readings that the store took cannot be read back: {}"
    ),
    IngestRule.CLOCK: _Said("服务器时钟偏差 {}", "the machine's clock is off by {}", "span"),
    IngestRule.BROKER: _Said("与消息服务器断开已 {}", "no connection to the broker for {}", "span"),
    IngestRule.REFUSED: _Said("近 10 分钟 {} 的读数被隔离", "refused of the last 10 minutes' readings: {}", "share"),
    IngestRule.DETECTORS: _Said("已停用的检测器 {} 个", "detectors switched off after a failure: {}"),
    IngestRule.DEVICE_CLOCK: _Said(
        "设备时钟超前，{} 条读数被隔离", "its clock is ahead of the city's, readings refused: {}"
    ),
    IngestRule.DEVICE_RATE: _Said("发送过快，{} 条读数被隔离", "it sends too fast, readings refused: {}"),
}


def ingest_subject(district: str) -> Subject:
    """Return the subject of what ingest finds about a district as a whole.

    >>> ingest_subject("hewan")
    'ingest:hewan'
    """
    return Subject(f"ingest:{district}")


def device_subject(device: DeviceId | str) -> Subject:
    """Return the subject of what ingest finds about a device."""
    return Subject(f"device:{device}")


def said_zh(where: str, rule: str, value: float | None) -> str:
    """Return the Chinese sentence of an alarm of ingest.

    >>> said_zh("hewan", "broker", 42.0)
    'hewan 数据接入：与消息服务器断开已 42 秒。'
    """
    said = _SAID.get(rule)
    what = "异常" if said is None else said.zh.format(_shown(value, said.form, _ZH))
    return f"{where} 数据接入：{what}。"


def said_en(where: str, rule: str, value: float | None) -> str:
    """Return the English sentence of an alarm of ingest.

    >>> said_en("hewan", "spool_disk", 1.25e9)
    "hewan ingest: the spool's disk is filling up, 1.2 GB left."
    """
    said = _SAID.get(rule)
    what = "something is wrong" if said is None else said.en.format(_shown(value, said.form, _EN))
    return f"{where} ingest: {what}."


_ZH = ("秒", "分钟", "小时", "天")
_EN = ("s", "min", "h", "days")
_SPANS_S = (1.0, 60.0, 3600.0, 86_400.0)


def _shown(value: float | None, form: Form, units: tuple[str, ...]) -> str:
    if value is None:
        return "?"
    match form:
        case "share":
            return f"{value:.1%}"
        case "size":
            return f"{value / 1e9:.1f} GB" if value >= 1e8 else f"{value / 1e6:.1f} MB"
        case "count":
            return f"{value:,.0f}"
        case "span":
            at = max(i for i, span in enumerate(_SPANS_S) if i == 0 or abs(value) >= 2 * span)
            return f"{abs(value) / _SPANS_S[at]:.0f} {units[at]}"


__all__ = ["IngestRule", "device_subject", "ingest_subject", "said_en", "said_zh"]
