// The operations page in the browser: live frames into counters, list and banner. Times are shown in the city's zone.

(function () {
  // Dash's renderer adds its own part to this namespace later; what it offers is looked up when it is needed.
  const dash = (window.dash_clientside ??= {});
  const keep = (n) => Array(n).fill(dash.no_update);

  // --- times and numbers -------------------------------------------------------------------------------------------

  const formats = new Map();
  function format(ms, zone, options) {
    const key = zone + JSON.stringify(options);
    if (!formats.has(key)) {
      formats.set(key, new Intl.DateTimeFormat('sv-SE', {timeZone: zone, hourCycle: 'h23', ...options}));
    }
    return formats.get(key).format(ms);
  }
  const TIME = {hour: '2-digit', minute: '2-digit', second: '2-digit'};
  const DATE = {year: 'numeric', month: '2-digit', day: '2-digit'};
  const clock = (ms, zone) => format(ms, zone, TIME);
  const date = (ms, zone) => format(ms, zone, DATE);

  const count = (n) => (n === null || n === undefined ? '–' : n >= 1e8 ? `${(n / 1e6).toFixed(0)} M` : Math.round(n).toLocaleString('en-US'));
  const decimal = (n) => (n === null || n === undefined ? '–' : n >= 100 ? count(n) : n.toFixed(1));
  const figure = (n) => (Math.abs(n) >= 100 ? n.toFixed(0) : Math.abs(n) >= 10 ? n.toFixed(1) : n.toFixed(n ? 3 : 0).replace(/0$/, ''));

  function span(seconds, words) {
    if (seconds < 120) return `${Math.round(seconds)} ${words.seconds}`;
    if (seconds < 7200) return `${Math.round(seconds / 60)} ${words.minutes}`;
    return `${Math.round(seconds / 3600)} ${words.hours}`;
  }

  // --- counters ----------------------------------------------------------------------------------------------------

  const balance = (ledger, words) =>
    !ledger ? '–' : ledger.balance ? words.ledger_off.replace('{n}', count(ledger.balance)) : words.ledger_balanced;

  /** A line a district, where there are several: what comes in, what waits, and whether its ledger balances. */
  function districts(all, words) {
    const lines = Object.entries(all).map(([name, {alive, rate, ledger}]) => {
      const waits = ledger?.spooled ? ` · ${words.spool} ${count(ledger.spooled)}` : '';
      return `${name}  ${alive ? `${decimal(rate)}/s` : words.district_stopped}${waits} · ${balance(ledger, words)}`;
    });
    return lines.length > 1 ? lines.join('\n') : '';
  }

  /** A line a layer of detection that is off, with the reason. */
  function layers(off, words) {
    const lines = Object.entries(off).map(([layer, reason]) => `${words.layer_off.replace('{layer}', layer)}${reason}`);
    return lines.join('\n');
  }

  function counters(status, words) {
    if (!status) return keep(20);
    const {ledger} = status.ingest;
    const figures = ['water', 'gas', 'drainage'].flatMap((name) => {
      const {value, unit, past} = status.figures[name];
      return [value === null ? '–' : `${figure(value)} ${unit}`, past];
    });
    return [
      ...status.levels.map(count),
      count(status.unacknowledged),
      count(status.offline),
      ` / ${count(status.devices)}`,
      status.ingest.alive ? decimal(status.ingest.rate) : '–',
      count(ledger?.stored),
      count(ledger?.spooled),
      count(ledger?.quarantined),
      balance(ledger, words),
      districts(status.ingest.districts, words),
      layers(status.ingest.layers_off, words),
      ...figures,
    ];
  }

  // --- connection, banner, clock -----------------------------------------------------------------------------------

  /** What stands in the way of trusting the screen, worst first: [class, text], or null. */
  function trouble(connection, status, words) {
    if (connection.state === 'lost' || connection.state === 'late') {
      return ['lost', words.banner_lost.replace('{age}', span(connection.seconds, words))];
    }
    if (!status) return null;
    if (status.trouble.length) return ['lost', `${words.banner_trouble} ${status.trouble.join(' · ')}`];
    if (!status.ingest.alive) {
      const age = status.ingest.beat_age_s;
      return ['lost', age === null ? words.banner_no_ingest : words.banner_ingest_gone.replace('{age}', span(age, words))];
    }
    if (!status.ingest.connected) return ['lost', words.banner_no_broker.replace('{broker}', status.ingest.broker)];
    if (status.stale) {
      return ['late', status.data_age_s === null ? words.banner_no_data : words.banner_stale.replace('{age}', span(status.data_age_s, words))];
    }
    return null;
  }

  const heard = {at: null, when: 0, speed: 1};

  function connection(line, status, words, zone) {
    if (!line) return keep(10);
    if (status && heard.at !== status.at) Object.assign(heard, {at: status.at, when: performance.now(), speed: status.speed});
    const ill = trouble(line, status, words);
    // The clock goes on between two frames, and stops when the line is gone: it is the city's, not the browser's.
    const now = heard.at === null ? null : line.state === 'lost' ? heard.at : heard.at + (performance.now() - heard.when) * heard.speed;
    const known = line.state === 'live' && status && status.data_age_s !== null;
    const age = known ? words.data_age.replace('{age}', span(status.data_age_s, words)) : '';
    const stateClass = line.state === 'live' && ill ? 'late' : line.state;
    return [
      `${words[`line_${line.state}`]}${age ? ` · ${age}` : ''}`,
      `connection ${stateClass}`,
      ill ? ill[1] : '',
      ill ? `banner ${ill[0]}` : 'banner',
      !ill,
      status?.recording ? `${words.replay}${status.speed === 1 ? '' : ` ×${+status.speed.toPrecision(3)}`}` : '',
      !status?.recording,
      now === null ? '--:--:--' : clock(now, zone),
      now === null ? '' : `${date(now, zone)} ${zone === 'Asia/Shanghai' ? words.beijing : zone}`,
      line.state !== 'connecting' && Boolean(ill),
    ];
  }

  // --- alarm list --------------------------------------------------------------------------------------------------

  /** An alarm as its row shows it; the cells below only draw. */
  function shown(alarm, language, words, zone, today) {
    const day = date(alarm.onset, zone);
    const done = alarm.acknowledged && `${alarm.acknowledged_by} ${clock(alarm.acknowledged_at, zone).slice(0, 5)}`;
    const notes = [alarm.name || alarm.device || alarm.asset || ''];
    if (!alarm.active) notes.push(words.returned);
    if (alarm.count > 1) notes.push(words.again.replace('{n}', alarm.count));
    if (alarm.gone) notes.push(words.gone);
    return {
      ...alarm,
      text: alarm[language],
      clock: clock(alarm.onset, zone),
      day: day === today ? '' : day.slice(5), // 11-21, as the trend writes it
      notes: notes.filter(Boolean).join(' · '),
      done,
      button: words.acknowledge_short,
    };
  }

  function alarms(list, status, words, language, zone) {
    if (!list) return keep(2);
    const today = status ? date(status.at, zone) : '';
    const rows = list.rows.map((alarm) => shown(alarm, language, words, zone, today));
    const open = words.alarms_open.replace('{n}', rows.length);
    return [rows, list.waiting ? words.waiting.replace('{n}', list.waiting) : list.held ? words.held : open];
  }

  const isNarrow = () => window.matchMedia('(max-width: 700px)').matches;

  /** Where there is little room the time stands under the text, so that the text has it. */
  function columns(words, defs) {
    const width = isNarrow() ? {level: 48, version: 78} : {level: 56, version: 90};
    const tight = window.matchMedia('(max-width: 1500px)').matches;
    return [tight ? defs.map((column) => ({...column, width: width[column.field], hide: column.field === 'onset'})) : dash.no_update];
  }

  // --- choosing ----------------------------------------------------------------------------------------------------

  function choose(chosen, cell, wholeCity, rows, selection, question) {
    const from = dash.callback_context.triggered_id;
    if (from === 'map' && !chosen && question) return keep(3); // a click beside everything ends no answer
    if (from === 'whole-city') return [dash.no_update, {all: true, at: Date.now()}, dash.no_update];
    if (from === 'map') return [chosen, dash.no_update, chosen?.device ?? null];
    const alarm = rows?.find((row) => row.id === cell?.rowId);
    if (!alarm || cell.colId === 'version') return keep(3);
    const point = alarm.subject.startsWith('point:') ? alarm.subject.split('/').at(-1) : null;
    const flight = alarm.place ? {lngLat: alarm.place, at: Date.now()} : dash.no_update;
    if (isNarrow()) document.querySelector('.map-pane').scrollIntoView({block: 'start'});
    return [{device: alarm.device, asset: alarm.asset, point, text: alarm.text, alarm: alarm.id, at: Date.now()}, flight, alarm.device];
  }

  /** Lengthen the trend by what came in, if it is still the one that was asked about. */
  function lengthen(more, tail) {
    const drawn = tail && more && ['device', 'point', 'after'].every((name) => tail[name] === more.of[name]);
    return drawn ? [[{x: [more.x], y: [more.y]}, [0], more.most], more.tail] : keep(2);
  }

  // --- asking what an event touches --------------------------------------------------------------------------------

  /** The question in force: from an action of the card, or the same with another valve stuck; none once it is closed. */
  function ask(actions, stuck, clear, selection, close, question) {
    const by = dash.callback_context.triggered_id;
    const pressed = dash.callback_context.triggered.some(({value}) => value);
    if (by === 'selection') return [question ? null : dash.no_update];
    if (!pressed || !by) return keep(1); // buttons that came with a new card were not pressed
    if (by === 'card-close' || by.type === 'clear') return [null];
    if (by.type === 'ask') return [{asset: by.asset, kind: by.kind, system: by.system, stuck: [], at: Date.now()}];
    const others = question.stuck.filter((valve) => valve !== by.valve);
    const now = others.length < question.stuck.length ? others : [...others, by.valve];
    return [{...question, stuck: now, at: Date.now()}];
  }

  /** Fly to what is pressed in an answer; its place stands in the button's id. */
  function show() {
    const {triggered, triggered_id: by} = dash.callback_context;
    if (!triggered.some(({value}) => value)) return keep(1);
    if (isNarrow()) document.querySelector('.map-pane').scrollIntoView({block: 'start'});
    return [{lngLat: by.at.split(',').map(Number), zoom: 18.5, at: Date.now()}];
  }

  function look(theme, xray) {
    document.documentElement.dataset.theme = theme;
    return [theme === 'day' ? 'light' : 'dark', theme, Boolean(xray)];
  }

  // --- acknowledging: bound to the alarm and the version that was on the screen when the button was pressed -----------

  function openDialog(press, cancel, rows) {
    if (dash.callback_context.triggered_id !== 'alarms') return [false, null, dash.no_update, '', dash.no_update];
    const alarm = rows.find((row) => row.id === press?.value?.id);
    if (!alarm) return keep(5);
    return [true, {id: alarm.id, version: press.value.version}, alarm.text, '', ''];
  }

  dash.operations = {counters, connection, alarms, columns, choose, lengthen, ask, show, look, openDialog};
})();
