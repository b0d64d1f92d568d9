// <Sparkline values label>: the last half hour of one figure, as a grey line without axes. Gaps (null) stay gaps.
const h = window.React.createElement;
const WIDTH = 200;
const HEIGHT = 32;

function path(values) {
  const known = values.filter((value) => value !== null);
  const low = Math.min(...known);
  const span = Math.max(...known) - low || 1;
  const x = (i) => ((i / (values.length - 1)) * WIDTH).toFixed(1);
  const y = (value) => (HEIGHT - 3 - ((value - low) / span) * (HEIGHT - 6)).toFixed(1);
  let pen = 'M';
  return values.reduce((d, value, i) => {
    if (value === null) {
      pen = 'M';
      return d;
    }
    const step = `${pen}${x(i)},${y(value)}`;
    pen = 'L';
    return d + step;
  }, '');
}

export function Sparkline({id, values, label}) {
  const line = (values ?? []).filter((value) => value !== null).length > 1;
  return h(
    'svg',
    {id, className: 'spark', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: 'none', role: 'img', 'aria-label': label},
    line && h('path', {d: path(values), vectorEffect: 'non-scaling-stroke'}),
  );
}
