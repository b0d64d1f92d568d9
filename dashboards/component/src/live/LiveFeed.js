// <LiveFeed url holds>: keeps the page's connection and hands what it says to Dash callbacks.
//
// Out: `status` (the last frame without its alarms), `alarms` ({rows, waiting}), `connection` ({state, seconds}).
import {AlarmBook} from './alarms.js';
import {feed} from './feed.js';

const {useEffect, useRef} = window.React;
const LATE_AFTER_S = 4; // the server speaks twice a second; two seconds may be a busy machine

function connection() {
  const seconds = feed.silenceSeconds;
  if (seconds === null) return {state: 'connecting', seconds: null};
  const state = !feed.connected ? 'lost' : seconds > LATE_AFTER_S ? 'late' : 'live';
  return {state, seconds: Math.floor(seconds)};
}

/** Whether the pointer or the keyboard is in the element: then nothing in it may move. */
function isHeld(selector) {
  const element = selector && document.querySelector(selector);
  return Boolean(element?.matches(':hover') || element?.querySelector('.ag-row :focus, .ag-row:focus'));
}

export function LiveFeed({id, url, holds, setProps}) {
  const send = useRef(setProps);
  send.current = setProps;

  useEffect(() => {
    const book = new AlarmBook();
    let changed = false;
    let wasHeld = false;

    const showAlarms = () => {
      const held = isHeld(holds);
      if (!changed && !(wasHeld && !held)) return;
      send.current({alarms: {...book.rows(held), held}});
      [changed, wasHeld] = [false, held];
    };
    const onFrame = () => {
      const {alarms, ...status} = feed.frame;
      if (status.kind === 'snapshot') book.reset(alarms.put);
      else book.merge(alarms);
      changed ||= status.kind === 'snapshot' || alarms.put.length + alarms.drop.length > 0;
      send.current({status});
      showAlarms();
    };
    const onSecond = () => {
      send.current({connection: connection()});
      showAlarms();
    };
    feed.addEventListener('frame', onFrame);
    feed.addEventListener('second', onSecond);
    feed.addEventListener('lost', onSecond);
    feed.open(url);
    return () => {
      feed.removeEventListener('frame', onFrame);
      feed.removeEventListener('second', onSecond);
      feed.removeEventListener('lost', onSecond);
    };
  }, [url, holds]);

  return window.React.createElement('span', {id, hidden: true});
}
