// <CityMap url theme xray stale chosenDevice flyTo answer keepClear words>: the map as a Dash component.
//
// Out: `chosen` — {device} or {asset} that was clicked, or null for the bare ground; `phase` — loading, ready, empty
// or error.
import {MapEngine} from './engine.js';

const {createElement: h, useEffect, useRef, useState} = window.React;

function lookOf({theme, xray, stale}) {
  return {theme: theme ?? 'night', xray: Boolean(xray), stale: Boolean(stale)};
}

export function CityMap(props) {
  const {id, url, theme, xray, stale, chosenDevice, flyTo, answer, keepClear, words, setProps} = props;
  const element = useRef();
  const engine = useRef();
  const [phase, setPhase] = useState('loading');

  useEffect(() => {
    const say = (news) => {
      if (news.phase) setPhase(news.phase);
      setProps(news);
    };
    engine.current = new MapEngine(element.current, {url, look: lookOf(props), words, keepClear, say});
    return () => engine.current.destroy();
  }, [url]);
  useEffect(() => engine.current.setLook(lookOf(props)), [theme, xray, stale]);
  useEffect(() => engine.current.setChosen(chosenDevice), [chosenDevice]);
  useEffect(() => engine.current.setAnswer(answer), [answer]);
  useEffect(() => {
    if (flyTo?.all) engine.current.showAll();
    else if (flyTo) engine.current.flyTo(flyTo);
  }, [flyTo]);

  return h(
    'div',
    {id, className: 'city-map', role: 'region', 'aria-label': words.title},
    h('div', {ref: element, className: 'city-map-canvas'}),
    phase !== 'ready' && h('div', {className: `city-map-phase ${phase}`, role: 'status'}, words[phase]),
  );
}
