"""The words of the screens, Chinese first."""

from __future__ import annotations

from types import MappingProxyType

from sensors.sentence import Language

LANGUAGES: tuple[Language, ...] = ("zh", "en")

_WORDS: dict[str, tuple[str, str]] = {
    "other_language": ("English", "中文"),
    "night": ("夜间", "Night"),
    "day": ("日间", "Day"),
    "xray": ("透视", "X-ray"),
    "whole_city": ("全图", "Whole city"),
    "alarms": ("报警列表", "Alarms"),
    "alarms_empty": ("当前无报警", "No open alarms"),
    "alarms_loading": ("正在读取报警…", "Reading alarms…"),
    "level": ("级别", "Level"),
    "time": ("时间", "Time"),
    "what": ("内容", "What"),
    "acknowledge": ("确认", "Acknowledge"),
    "acknowledge_short": ("确认", "Ack"),
    "acknowledge_title": ("确认报警", "Acknowledge alarm"),
    "your_name": ("姓名", "Your name"),
    "name_needed": ("请填写姓名", "A name is needed"),
    "comment": ("备注（可不填）", "Comment (optional)"),
    "cancel": ("取消", "Cancel"),
    "close": ("关闭", "Close"),
    "stale_alarm": (
        "该报警已被他人更新，本次确认未生效。请查看最新状态后重试。",
        "Somebody else changed this alarm first; your acknowledgement was not made. Look at it again, then retry.",
    ),
    "stale_by": ("{by} 已于 {at} 确认。", "{by} acknowledged it at {at}."),
    "unknown_alarm": ("该报警已不存在。", "This alarm no longer exists."),
    "not_saved": ("未能保存，请重试：{error}", "Not saved, please retry: {error}"),
    "system": ("运行概况", "Overview"),
    "open_alarms": ("未恢复报警", "Open alarms"),
    "level_1": ("一级 红", "Level 1 red"),
    "level_2": ("二级 橙", "Level 2 orange"),
    "level_3": ("三级 黄", "Level 3 yellow"),
    "level_4": ("四级 蓝", "Level 4 blue"),
    "unacknowledged": ("未确认", "Unacknowledged"),
    "devices": ("感知设备", "Field devices"),
    "offline": ("离线", "Offline"),
    "ingest": ("数据接入", "Ingest"),
    "rate": ("读数/秒", "Readings/s"),
    "spool": ("待处理", "Spooled"),
    "stored": ("已入库", "Stored"),
    "quarantined": ("已隔离", "Quarantined"),
    "water": ("供水压力（中位）", "Water pressure (median)"),
    "gas": ("燃气浓度（最高）", "Gas concentration (max)"),
    "drainage": ("排水液位（最高）", "Drain level (max)"),
    "seconds": ("秒", "s"),
    "minutes": ("分钟", "min"),
    "hours": ("小时", "h"),
    "beijing": ("北京时间", "Beijing time"),
    "replay": ("回放", "Replay"),
    "line_connecting": ("连接中", "Connecting"),
    "line_live": ("已连接", "Connected"),
    "line_late": ("响应迟缓", "Slow"),
    "line_lost": ("连接中断", "Connection lost"),
    "data_age": ("数据 {age}前", "data {age} old"),
    "banner_lost": (
        "与服务器的连接已中断，画面停留在 {age}前，正在重连…",
        "Connection to the server lost: this screen is {age} old; reconnecting…",
    ),
    "banner_trouble": ("部分数据暂时读不到：", "Some data cannot be read:"),
    "banner_no_ingest": (
        "数据接入未运行，画面上的状态不代表现场。用 chengmai ingest 启动。",
        "Ingest has not run: what is shown says nothing about the field. Start it with: chengmai ingest",
    ),
    "banner_ingest_gone": (
        "数据接入已停止 {age}，画面上的状态不是最新",
        "Ingest stopped {age} ago: what is shown is not current",
    ),
    "banner_no_broker": ("数据接入未连上消息服务器 {broker}", "Ingest is not connected to the broker {broker}"),
    "banner_no_data": ("尚未收到任何读数", "No reading has come in yet"),
    "banner_stale": ("最新读数已是 {age}前，状态不代表现场", "The newest reading is {age} old: states are not current"),
    "alarms_open": ("共 {n} 条", "{n} open"),
    "waiting": ("{n} 条新报警在末尾，移开后重新排序", "{n} new at the end; sorted when the pointer leaves"),
    "held": ("顺序已锁定", "order held"),
    "returned": ("已恢复", "returned to normal"),
    "again": ("第 {n} 次", "{n} times"),
    "gone": ("已结束", "over"),
    "trend": ("趋势", "Trend"),
    "trend_empty": (
        "点选地图上的传感器或列表中的报警，查看其趋势",
        "Choose a sensor on the map or an alarm in the list to see its trend",
    ),
    "trend_loading": ("正在读取…", "Reading…"),
    "no_readings": ("该时段无读数", "No readings in this span"),
    "span_1h": ("1 小时", "1 h"),
    "span_6h": ("6 小时", "6 h"),
    "span_24h": ("24 小时", "24 h"),
    "span_7d": ("7 天", "7 d"),
    "limit": ("限值", "limit"),
    "map": ("城市地图", "City map"),
    "map_loading": ("正在载入地图…", "Loading the map…"),
    "map_empty": (
        "城市数据库中还没有已定位的建筑或管网。用 chengmai load 载入文件。",
        "Nothing placed in the city database yet. Load files with: chengmai load",
    ),
    "map_error": ("地图暂不可用，正在重试…", "The map is not available; retrying…"),
    "properties": ("属性", "Properties"),
    "nothing_known": ("没有更多属性", "No further properties"),
    "legend_offline": ("离线", "offline"),
    "legend_normal": ("正常", "normal"),
    "gas_pipes": ("燃气", "Gas"),
    "water_pipes": ("供水", "Water"),
    "drain_pipes": ("排水", "Drainage"),
    "field_model": ("型号", "Model"),
    "field_interval_s": ("上报周期", "Interval"),
    "field_system": ("系统", "System"),
    "value_gas": ("燃气", "gas"),
    "value_water": ("供水", "water supply"),
    "value_drainage": ("排水", "drainage"),
    "value_heat": ("供热", "heat"),
    "value_rain": ("雨量", "rain"),
    "value_structure": ("结构", "structure"),
    "value_sanitary": ("污水", "sanitary"),
    "value_storm": ("雨水", "storm"),
    "value_combined": ("合流", "combined"),
    "value_junction": ("管点", "junction"),
    "value_valve": ("阀门", "valve"),
    "value_hydrant": ("消火栓", "hydrant"),
    "value_meter": ("计量表", "meter"),
    "value_pump": ("泵", "pump"),
    "value_regulator": ("调压站", "regulator station"),
    "value_reservoir": ("水源", "reservoir"),
    "value_tank": ("水箱", "tank"),
    "value_manhole": ("检查井", "manhole"),
    "value_inlet": ("雨水口", "inlet"),
    "value_storage": ("蓄水设施", "storage"),
    "value_outfall": ("排口", "outfall"),
    "value_source": ("气源", "source"),
    "value_customer": ("用户", "customer"),
    "value_pipe": ("管道", "pipe"),
    "value_conduit": ("管渠", "conduit"),
    "value_orifice": ("孔口", "orifice"),
    "value_weir": ("堰", "weir"),
    "value_outlet": ("出口", "outlet"),
    "value_compressor": ("压缩机", "compressor"),
    "value_service": ("引入管", "service pipe"),
    "field_id": ("编号", "Id"),
    "field_name": ("名称", "Name"),
    "field_kind": ("类别", "Kind"),
    "field_service": ("性质", "Service"),
    "field_diameter_m": ("管径 (m)", "Diameter (m)"),
    "field_length_m": ("长度 (m)", "Length (m)"),
    "field_material": ("材质", "Material"),
    "field_year": ("年份", "Year"),
    "field_start": ("起点", "From"),
    "field_end": ("终点", "To"),
    "field_start_level_m": ("起点标高 (m)", "Start level (m)"),
    "field_end_level_m": ("终点标高 (m)", "End level (m)"),
    "field_status": ("状态", "Status"),
    "field_laying": ("敷设方式", "Laying"),
    "field_ground_m": ("地面标高 (m)", "Ground level (m)"),
    "field_invert_m": ("管底标高 (m)", "Invert level (m)"),
    "field_zone": ("分区", "Zone"),
    "field_height_m": ("高度 (m)", "Height (m)"),
    "field_storeys": ("层数", "Storeys"),
    "field_usage": ("用途", "Usage"),
    "field_residents": ("居住人数", "Residents"),
    "field_ifc_class": ("IFC 类", "IFC class"),
    "field_guid": ("GUID", "GUID"),
    "field_type_name": ("类型", "Type"),
    "field_predefined_type": ("预定义类型", "Predefined type"),
    "field_building": ("所属建筑", "Building"),
    "field_storey": ("楼层", "Storey"),
}

_BY_LANGUAGE = {
    language: MappingProxyType({key: texts[i] for key, texts in _WORDS.items()}) for i, language in enumerate(LANGUAGES)
}


def words(language: Language) -> MappingProxyType[str, str]:
    """Return the words of one language.

    >>> words("zh")["acknowledge"], words("en")["acknowledge"]
    ('确认', 'Acknowledge')
    """
    return _BY_LANGUAGE[language]


def language_of(text: str | None, default: Language) -> Language:
    """Return the language that `text` names, or the default.

    >>> language_of("en", "zh"), language_of("fr", "zh"), language_of(None, "en")
    ('en', 'zh', 'en')
    """
    match text:
        case "zh" | "en":
            return text
        case _:
            return default
