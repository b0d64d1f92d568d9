"""The reports in words, Chinese and English: the figures of times, and the handover of a shift."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo

from sensors.alarm import Alarm
from sensors.figures.handover import Handover
from sensors.figures.paper import Bars, Paper, Section
from sensors.figures.performance import TOP, Lengths, Performance
from sensors.figures.targets import Targets
from sensors.response import Response
from sensors.sentence import sentence
from sensors.wording import LEVELS, STATES, Language

SHOWN = 50
"""So many rows of a list are on paper, the worst; how many more there are is said."""

_SYSTEMS = {"gas": "燃气", "water": "供水", "drainage": "排水"}
_STEPS = {
    "reported": "采集",
    "opened": "立案",
    "dispatched": "派遣",
    "in_hand": "处理",
    "done": "反馈",
    "verified": "核查",
}
_HIDDEN = {"shelved": "搁置", "suppressed": "屏蔽", "out_of_service": "停用"}


class _Words:
    """What is said in one language, with times in the city's zone."""

    def __init__(self, language: Language, zone: tzinfo) -> None:
        self.language: Language = language
        self._zone = zone

    def __call__(self, zh: str, en: str) -> str:
        return zh if self.language == "zh" else en

    def time(self, at: datetime | None) -> str:
        """Return a local time to the minute; nothing for none."""
        return "" if at is None else at.astimezone(self._zone).strftime("%Y-%m-%d %H:%M")

    def level(self, level: int) -> str:
        """Return the word of a level."""
        return LEVELS[self.language][level - 1]

    def length(self, took: timedelta | None) -> str:
        """Return how long something took, in minutes or hours.

        >>> from datetime import UTC
        >>> _Words("en", UTC).length(timedelta(seconds=90))
        '1.5 min'
        """
        if took is None:
            return "–"
        minutes = took.total_seconds() / 60
        return f"{minutes:.1f} min" if minutes < 120 else f"{minutes / 60:.1f} h"

    def lengths(self, took: Lengths) -> str:
        """Return the middle and the ninth of ten, and of how many."""
        return f"{self.length(took.median)} / {self.length(took.p90)} ({took.count:,})"

    def more(self, number: int) -> tuple[str, ...]:
        """Return the line that says how many of `number` are not shown."""
        left = number - SHOWN
        return (self(f"仅列前 {SHOWN} 条，另有 {left:,} 条", f"the first {SHOWN}; {left:,} more"),) if left > 0 else ()


def performance_report(  # the parts of a report
    whole: Performance,
    parts: Sequence[tuple[str, Performance]],
    targets: Targets,
    *,
    language: Language,
    zone: tzinfo,
    title: str,
) -> Paper:
    """Return the figures of a time, and a row each of its parts (a shift, a desk) by their names."""
    say = _Words(language, zone)
    head = (say("时段", "part"), *_COLUMNS[language])
    rows = tuple((name, *_row(each, say)) for name, each in parts)
    listed = (Section(say("分班次、分席位", "by shift and desk"), head=head, rows=rows),) if parts else ()
    facts = ((say("时间", "time"), f"{say.time(whole.start)} – {say.time(whole.end)}"),)
    return Paper(
        f"{title} {say('报警系统绩效', 'alarm system performance')}",
        language,
        facts,
        (_figures(whole, targets, say), _levels(whole, targets, say), _actors(whole, say), *listed),
    )


def handover_report(handover: Handover, response: Response, *, language: Language, zone: tzinfo, title: str) -> Paper:
    """Return the handover of a shift in words."""
    say = _Words(language, zone)
    shift, following = handover.shift, handover.following
    facts = (
        (say("班次", "shift"), f"{say(shift.zh, shift.en)} {shift.label}"),
        (say("时间", "time"), f"{say.time(shift.start)} – {say.time(shift.end)}"),
        (say("接班", "handed to"), f"{say(following.zh, following.en)} {following.label}"),
        (say("截至", "as of"), say.time(handover.until)),
        (say("生成", "made"), say.time(handover.made)),
    )
    desks = tuple((say(desk.zh, desk.en), *_row(each, say)) for desk, each in handover.desks)
    listed = (Section(say("各席位", "desks"), head=(say("席位", "desk"), *_COLUMNS[language]), rows=desks),)
    return Paper(
        f"{title} {say('交接班报告', 'shift handover')}",
        language,
        facts,
        (
            _to_know(handover, say),
            _open(handover, say),
            _cases(handover, response, say),
            _hidden(handover, say),
            _happened(handover, say),
            _remarks(handover, say),
            _health(handover, say),
            _figures(handover.performance, response.targets, say),
            _levels(handover.performance, response.targets, say),
            _actors(handover.performance, say),
            *(listed if desks else ()),
        ),
        (say("交班人", "handed over by"), say("接班人", "taken over by")),
    )


_COLUMNS = {
    "zh": ("报警", "每10分钟", "峰值", "在报", "陈旧", "抖动", "泛滥", "确认用时 中位/P90", "消警用时 中位/P90"),
    "en": (
        "alarms",
        "per 10 min",
        "peak",
        "standing",
        "stale",
        "chattering",
        "floods",
        "to acknowledge, median/p90",
        "to clear, median/p90",
    ),
}


def _row(told: Performance, say: _Words) -> tuple[str, ...]:
    return (
        f"{told.announced:,}",
        f"{told.rate:.2f}",
        str(told.peak),
        f"{told.standing:,}",
        str(told.stale),
        str(len(told.chattering)),
        str(len(told.floods)),
        say.lengths(told.acknowledge),
        say.lengths(told.clear),
    )


def _to_know(handover: Handover, say: _Words) -> Section:
    """Return what the next shift must know first."""
    told, lines = handover.performance, list[str]()
    red = [each for each in handover.open if each.alarm.level == 1]
    lines += [f"{say.level(1)}: {sentence(each.alarm, say.language)}" for each in red[:SHOWN]]
    waiting, stale = len(handover.unacknowledged), sum(each.stale for each in handover.open)
    late, near = (sum(getattr(each, name) for each in handover.cases) for name in ("late", "near"))
    running = [flood for flood in told.floods if flood.running]
    for number, zh, en in (
        (waiting, "条报警未确认", "alarms nobody has acknowledged"),
        (stale, "条报警长期未消除", "alarms that have stood for too long"),
        (late, "件案件已超期", "cases past their deadline"),
        (near, "件案件将在下一班到期", "cases due in the next shift"),
        (len(handover.hidden), "条报警被搁置、屏蔽或停用", "alarms shelved, suppressed or out of service"),
        (len(told.chattering), "个测点抖动", "conditions that chatter"),
        (sum(each.offline for each in handover.health), "台设备离线", "devices offline"),
    ):
        if number:
            lines.append(say(f"{number:,} {zh}", f"{number:,} {en}"))
    lines += [
        say(
            f"报警泛滥仍在持续，始于 {say.time(flood.start)}，已有 {flood.announced:,} 条",
            f"a flood goes on since {say.time(flood.start)}, {flood.announced:,} alarms so far",
        )
        for flood in running
    ]
    return Section(say("接班须知", "what you must know"), tuple(lines), empty=say("无", "nothing"))


def _alarm_row(alarm: Alarm, say: _Words) -> tuple[str, ...]:
    state = STATES[say.language][alarm.state.value]
    return (str(alarm.id), say.level(alarm.level), say.time(alarm.onset), state, alarm.acknowledged_by or "")


def _alarm_head(say: _Words) -> tuple[str, ...]:
    return (
        say("报警", "alarm"),
        say("级别", "level"),
        say("发生", "since"),
        say("状态", "state"),
        say("确认人", "acknowledged by"),
    )


def _open(handover: Handover, say: _Words) -> Section:
    rows = tuple(
        (*_alarm_row(each.alarm, say), "" if each.case is None else str(each.case), sentence(each.alarm, say.language))
        for each in handover.open[:SHOWN]
    )
    head = (*_alarm_head(say), say("案件", "case"), say("内容", "what"))
    return Section(
        f"{say('未结报警', 'open alarms')} ({len(handover.open):,})",
        say.more(len(handover.open)),
        head,
        rows,
        empty=say("无", "none"),
    )


def _happened(handover: Handover, say: _Words) -> Section:
    found = handover.happened
    rows = tuple((*_alarm_row(each, say), sentence(each, say.language)) for each in found[:SHOWN])
    title = f"{say('本班发生', 'what happened')} ({len(found):,})"
    return Section(
        title, say.more(len(found)), (*_alarm_head(say), say("内容", "what")), rows, empty=say("无", "nothing")
    )


def _hidden(handover: Handover, say: _Words) -> Section:
    rows = tuple(
        (
            *_alarm_row(each, say),
            say(_HIDDEN[each.visibility.value], each.visibility.value.replace("_", " ")),
            sentence(each, say.language),
        )
        for each in handover.hidden[:SHOWN]
    )
    head = (*_alarm_head(say), say("屏蔽方式", "how"), say("内容", "what"))
    title = say("搁置、屏蔽和停用", "shelved, suppressed, out of service")
    return Section(
        f"{title} ({len(handover.hidden):,})", say.more(len(handover.hidden)), head, rows, empty=say("无", "none")
    )


def _cases(handover: Handover, response: Response, say: _Words) -> Section:
    rows = [
        (
            str(each.id),
            say.level(each.level),
            say(_STEPS.get(each.step, each.step), each.step.replace("_", " ")),
            _department(each.department, response, say),
            " ".join(each.handlers),
            _deadline(each.due, say, late=each.late, near=each.near, suspended=each.suspended),
            each.title,
        )
        for each in handover.cases[:SHOWN]
    ]
    words = (("案件", "case"), ("级别", "level"), ("环节", "step"), ("部门", "department"), ("经办", "handled by"))
    words = (*words, ("期限", "deadline"), ("内容", "what"))
    summary = say(
        f"本班新增 {handover.cases_opened} 件，结案 {handover.cases_closed} 件",
        f"{handover.cases_opened} new in this shift, {handover.cases_closed} closed",
    )
    return Section(
        f"{say('未结案件', 'open cases')} ({len(handover.cases):,})",
        (summary, *say.more(len(handover.cases))),
        tuple(say(*word) for word in words),
        tuple(rows),
    )


def _department(department: str, response: Response, say: _Words) -> str:
    known = response.departments.get(department)
    return department if known is None else say(known.zh, known.en)


def _deadline(due: datetime | None, say: _Words, *, late: bool, near: bool, suspended: bool) -> str:
    said = (
        say("挂起", "suspended") if suspended else say("超期", "late") if late else say("临期", "near") if near else ""
    )
    return f"{say.time(due)} {said}".strip()


def _remarks(handover: Handover, say: _Words) -> Section:
    rows = tuple((say.time(each.at), each.by, each.subject, each.text) for each in handover.remarks[-SHOWN:])
    head = (say("时间", "time"), say("人员", "who"), say("对象", "about"), say("内容", "what"))
    return Section(say("值班记录", "notes"), (), head, rows, empty=say("无", "none"))


def _health(handover: Handover, say: _Words) -> Section:
    counts = tuple(
        say(
            f"{_SYSTEMS.get(each.system, each.system)}: {each.devices:,} 台在用，{each.offline:,} 台离线，"
            f"{each.calibration_due:,} 个测点校准到期",
            f"{each.system}: {each.devices:,} in service, {each.offline:,} offline, "
            f"{each.calibration_due:,} points due for calibration",
        )
        for each in handover.health
    )
    rows = tuple((each.device, each.name, say.time(each.since)) for each in handover.offline)
    head = (say("离线设备", "offline"), say("名称", "name"), say("离线时间", "since"))
    return Section(say("设备状况", "devices"), counts, head, rows, empty=say("无", "none"))


def _figures(told: Performance, targets: Targets, say: _Words) -> Section:
    peak = "" if told.peak_at is None else say(f"（至 {say.time(told.peak_at)}）", f" (up to {say.time(told.peak_at)})")
    rate = f"{targets.rate_acceptable.value:g} / {targets.rate_manageable.value:g}"
    rows = [
        (say("报警数", "alarms"), f"{told.announced:,}", ""),
        (say("每 10 分钟", "in 10 minutes"), f"{told.rate:.2f}", f"≤ {rate}"),
        (say("10 分钟峰值", "most in 10 minutes"), f"{told.peak}{peak}", f"≤ {targets.flood_over.value:g}"),
        (
            say("超量时段占比", "share of 10 minutes above that"),
            f"{100 * told.over_share:.1f} %",
            f"≤ {100 * targets.over_share.si:g} %",
        ),
        (say("泛滥时间占比", "share of time in flood"), f"{100 * told.flood_share:.1f} %", ""),
        (say("在报（班初→班末）", "standing, before → after"), f"{told.standing_before:,} → {told.standing:,}", ""),
        (say("陈旧", "stale"), str(told.stale), f"< {targets.stale_most.value:g}"),
        (say("未确认", "unacknowledged"), str(told.unacknowledged), ""),
        (say("抖动", "chattering"), str(len(told.chattering)), "0"),
        (say("瞬时", "fleeting"), str(told.fleeting), "0"),
        (
            say("前十占比", "share of the top ten"),
            f"{100 * told.top_share:.1f} %",
            f"≤ {100 * targets.top_share.si:g} %",
        ),
        (say("确认用时 中位/P90", "to acknowledge, median/p90"), say.lengths(told.acknowledge), ""),
        (say("消警用时 中位/P90", "to clear, median/p90"), say.lengths(told.clear), ""),
    ]
    floods = tuple(
        say(
            f"泛滥 {say.time(flood.start)} – {say.time(flood.end)}：{flood.announced:,} 条，峰值 {flood.peak}",
            f"flood {say.time(flood.start)} – {say.time(flood.end)}: {flood.announced:,} alarms, peak {flood.peak}",
        )
        for flood in told.floods
    )
    bars = Bars(
        told.windows,
        targets.flood_over.value,
        (say.time(told.start), say.time(told.end)),
        say("每 10 分钟报警数", "alarms in each 10 minutes"),
    )
    beyond = _beyond(told, targets)
    marked = tuple((*row, say("超出", "beyond") if missed else "") for row, missed in zip(rows, beyond, strict=True))
    head = (say("指标", "figure"), say("值", "value"), say("目标（每席）", "target, a desk"), "")
    return Section(say("报警绩效", "alarm figures"), floods, head, marked, bars)


def _beyond(told: Performance, targets: Targets) -> tuple[bool, ...]:
    """Return which of the figures, in the order of their rows, miss their target.

    The share of the top ten is judged from as many alarms on as make ten of them that share.
    """
    enough = told.announced * targets.top_share.si >= TOP
    return (
        False,
        told.rate > targets.rate_manageable.si,
        told.peak > targets.flood_over.si,
        told.over_share > targets.over_share.si,
        False,
        False,
        told.stale >= targets.stale_most.si,
        False,
        bool(told.chattering),
        told.fleeting > 0,
        enough and told.top_share > targets.top_share.si,
        False,
        False,
    )


def _levels(told: Performance, targets: Targets, say: _Words) -> Section:
    rows = tuple(
        (
            say.level(each.level),
            f"{each.announced:,}",
            f"{100 * each.share:.1f} %",
            f"{'≥' if each.level == 4 else '≤'} {100 * wanted:g} %",
            say.lengths(each.acknowledge),
            say.lengths(each.clear),
        )
        for each, wanted in zip(told.levels, targets.levels, strict=True)
    )
    head = (say("级别", "level"), say("报警", "alarms"), say("占比", "share"), say("目标", "target"))
    head = (*head, say("确认用时 中位/P90", "to acknowledge, median/p90"))
    return Section(say("分级", "by level"), (), (*head, say("消警用时 中位/P90", "to clear, median/p90")), rows)


def _actors(told: Performance, say: _Words) -> Section:
    chattering = {(each.subject, each.rule) for each in told.chattering}
    rows = tuple(
        (
            each.subject,
            each.rule,
            f"{each.announced:,}",
            f"{100 * each.share:.1f} %",
            say("抖动", "chatters") if (each.subject, each.rule) in chattering else "",
        )
        for each in told.top
    )
    head = (say("对象", "subject"), say("规则", "rule"), say("报警", "alarms"), say("占比", "share"), "")
    return Section(say("报警最多的前十", "the ten most frequent"), (), head, rows, empty=say("无", "none"))


__all__ = ["SHOWN", "handover_report", "performance_report"]
