// Cells of the alarm list. They draw what assets/operations.js put into the row.

(function () {
  const h = window.React.createElement;
  const SHAPES = {1: '■', 2: '▲', 3: '▼', 4: '●'};

  function AlarmLevel({data}) {
    const fresh = data.acknowledged ? '' : ' unacknowledged';
    return h('span', {className: `alarm-level level-${data.level}${fresh}`}, h('i', {'aria-hidden': true}, SHAPES[data.level]), data.level);
  }

  function AlarmTime({data}) {
    return h('span', {className: 'alarm-time'}, h('time', null, data.clock), data.day && h('small', null, data.day));
  }

  function AlarmText({data}) {
    return h('span', {className: 'alarm-text', title: data.text}, h('span', null, data.text), h('small', null, h('time', null, `${data.day} ${data.clock}`.trim()), data.notes));
  }

  function AlarmAcknowledge({data, setData}) {
    if (data.gone) return null;
    if (data.done) return h('span', {className: 'alarm-done'}, `✓ ${data.done}`);
    const press = (event) => {
      event.stopPropagation();
      setData({id: data.id, version: data.version, at: Date.now()});
    };
    return h('button', {type: 'button', className: 'acknowledge', 'aria-label': `${data.button}: ${data.text}`, onClick: press}, data.button);
  }

  window.dashAgGridComponentFunctions = Object.assign(window.dashAgGridComponentFunctions ?? {}, {
    AlarmLevel,
    AlarmTime,
    AlarmText,
    AlarmAcknowledge,
  });
})();
