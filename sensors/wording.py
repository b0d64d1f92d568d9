"""The words of sentences about alarms, Chinese first: what was found, against which baseline, by which tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

Language: TypeAlias = Literal["zh", "en"]

LEVELS: Mapping[Language, tuple[str, str, str, str]] = {
    "zh": ("一级红", "二级橙", "三级黄", "四级蓝"),
    "en": ("red", "orange", "yellow", "blue"),
}
"""The words of levels 1 to 4."""

FLOOD: Mapping[Language, str] = {"zh": "报警泛滥", "en": "flood"}
"""The word for more alarms at once than a person can take in."""

STATES: Mapping[Language, Mapping[str, str]] = {
    "zh": {
        "normal": "正常",
        "unacknowledged": "未确认",
        "acknowledged": "已确认",
        "returned_unacknowledged": "已恢复未确认",
        "latched_unacknowledged": "锁存未确认",
        "latched_acknowledged": "锁存已确认",
    },
    "en": {
        "normal": "normal",
        "unacknowledged": "unacknowledged",
        "acknowledged": "acknowledged",
        "returned_unacknowledged": "returned, unacknowledged",
        "latched_unacknowledged": "latched, unacknowledged",
        "latched_acknowledged": "latched, acknowledged",
    },
}
"""The words of the ISA-18.2 states."""

HYPOTHESES: Mapping[str, tuple[str, str]] = {
    "gas_leak": ("燃气泄漏", "gas leak"),
    "burst": ("爆管", "burst main"),
    "leak": ("供水漏损", "water leak"),
    "blockage": ("管道堵塞", "blocked drain"),
    "biogas": ("沼气聚集", "build-up of sewer gas"),
    "illicit_discharge": ("偷排", "illicit discharge"),
    "infiltration": ("外水入渗", "infiltration into the drains"),
    "integrity": ("监测数据被篡改或重放", "manipulated or replayed readings"),
}
"""Causes that a rule or kind supposes, zh and en, the one that says most first."""

OBSERVATIONS: Mapping[str, tuple[str, str]] = {
    "balance": ("分区水量不平衡", "the zone's water does not balance"),
    "night_flow": ("夜间最小流量偏高", "the night flow is high"),
    "line_pressure": ("燃气管线压力异常下降", "the gas line loses pressure"),
    "gas_rise": ("气体浓度异常升高", "the gas concentration rises"),
    "drain_high": ("排水液位异常偏高", "the drain stands unusually high"),
    "drain_flow": ("排水流量异常", "the flow of the drain is unusual"),
    "water_quality": ("水质异常", "the water's quality is unusual"),
    "device_fault": ("设备故障", "the device is at fault"),
    "quality": ("数据质量异常", "the readings are in doubt"),
    "deviation": ("监测值偏离常态", "the readings leave their usual course"),
}
"""What a rule or kind saw, where it supposes no cause."""

TESTS: Mapping[str, tuple[str, str]] = {
    "missing": ("数值缺失", "no values"),
    "future": ("时间超前", "clock ahead"),
    "stale": ("数据迟到", "late readings"),
    "duplicate": ("重复数据", "duplicates"),
    "out_of_order": ("时序错乱", "out of order"),
    "gap": ("数据中断", "gaps"),
    "gross_range": ("超出量程", "outside its span"),
    "operator_range": ("超出合理范围", "implausible values"),
    "spike": ("尖峰", "spikes"),
    "rate": ("变化过快", "impossible steps"),
    "flat_line": ("数值长时间不变", "values stand still"),
    "attenuated": ("波动衰减", "hardly moves any more"),
    "drift": ("漂移", "drift"),
    "calibration": ("超过校准期", "calibration overdue"),
    "inconsistent": ("与其他测点矛盾", "contradicts another point"),
    "battery": ("电量低", "low battery"),
    "radio": ("信号弱", "weak radio"),
    "ice": ("结冰", "frozen"),
    "companion": ("同设备其他测点失常", "another point of it has failed"),
}
"""The quality tests (`sensors.quality.Test`) by their rules: what a reading shows that does not pass."""

BASES: Mapping[str, tuple[str, str]] = {
    "limit": ("限值", "a limit"),
    "profile": ("往常同一时段", "its usual course of the day"),
    "recent": ("自身近期读数", "its own last readings"),
    "model": ("水力模型", "the hydraulic model"),
    "neighbours": ("相邻测点", "the points around it"),
    "balance": ("分区水量平衡", "the balance of the zone"),
    "rain": ("降雨校正", "the rain that fell"),
    "calibration": ("校准记录", "its calibration"),
}
"""The baselines of `sensors.detection.Evidence.basis`."""

FACTS: Mapping[str, tuple[str, str]] = {
    "loss": ("估计漏失", "loss"),
    "inflow": ("进水", "inflow"),
    "outflow": ("出水", "outflow"),
    "usual": ("通常", "usually"),
    "night_minimum": ("夜间最小", "night minimum"),
    "rain": ("降雨", "rain"),
    "rise": ("升高", "risen by"),
    "fall": ("下降", "fallen by"),
    "residual": ("残差", "residual"),
    "hours": ("历时 {} 小时", "for {} h"),
    "minutes": ("历时 {} 分钟", "for {} min"),
    "neighbours": ("{} 个相邻测点同时异常", "neighbours that agree: {}"),
    "rain_mm": ("近两日降雨余量 {} mm", "{} mm of the last days' rain not run off"),
    "area": ("汇水面积 {} m2", "draining area {} m2"),
    "interval": ("上报周期 {} s", "reporting interval {} s"),
}
"""The names of facts (`sensors.detection.Fact`), with {} where the number stands if not behind; another name is told as
it is."""


def word(words: Mapping[str, tuple[str, str]], name: str, language: Language) -> str:
    """Return the word for `name`, or the name itself in plain letters where there is none.

    >>> word(FACTS, "loss", "en"), word(FACTS, "third_party", "en")
    ('loss', 'third party')
    """
    found = words.get(name)
    return name.replace("_", " ") if found is None else found[language == "en"]


__all__ = [
    "BASES",
    "FACTS",
    "FLOOD",
    "HYPOTHESES",
    "LEVELS",
    "OBSERVATIONS",
    "STATES",
    "TESTS",
    "Language",
    "word",
]
