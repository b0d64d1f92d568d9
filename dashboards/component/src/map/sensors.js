// Sensors on the map: one GeoJSON source with ids = positions in the device list, states by feature state, and a mark
// (shape, number, colour) on top of each one that is in alarm.
//
// A state is one byte: bits 0–2 the level of its worst open alarm (0 none), bit 3 an alarm is unacknowledged,
// bit 4 offline or never heard.
import {Marker} from 'maplibre-gl';

const LEVEL = 0b0111;
const UNACKNOWLEDGED = 0b1000;
const OFFLINE = 0b1_0000;

const SHAPES = {
  1: '<rect x="2" y="2" width="20" height="20" rx="2"/>',
  2: '<path d="M12 1 23.5 22.5H.5Z"/>',
  3: '<path d="M12 23 .5 1.5h23Z"/>',
  4: '<circle cx="12" cy="12" r="10.5"/>',
};

function markElement(level, unacknowledged, title) {
  const element = document.createElement('button');
  element.type = 'button';
  element.className = `mark level-${level}${unacknowledged ? ' unacknowledged' : ''}`;
  element.title = title;
  element.setAttribute('aria-label', title);
  element.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true">${SHAPES[level]}</svg><b>${level}</b>`;
  return element;
}

export class SensorLayer {
  constructor(map, onChoose) {
    this.map = map;
    this.onChoose = onChoose;
    this.features = new Map(); // position in the device list → feature
    this.devices = null; // the device list that the source shows
    this.bytes = null; // the states that the source shows
    this.marks = new Map();
  }

  /** Show the sensors of another device list; `collection.devices` names it. */
  load(collection) {
    this.devices = collection.devices;
    this.features = new Map(collection.features.map((feature) => [feature.id, feature]));
    this.map.getSource('sensors').setData(collection);
    this.map.removeFeatureState({source: 'sensors'});
    this.bytes = null;
    for (const mark of this.marks.values()) mark.remove();
    this.marks.clear();
  }

  /** Take over the states of all sensors; only what changed touches the map. */
  apply(bytes) {
    const old = this.bytes;
    for (let i = 0; i < bytes.length; i++) {
      if (old?.[i] !== bytes[i] && this.features.has(i)) this.#show(i, bytes[i], old?.[i]);
    }
    this.bytes = bytes;
  }

  find(device) {
    for (const feature of this.features.values()) if (feature.properties.device === device) return feature;
    return null;
  }

  #show(i, now, then = 0) {
    if ((now & OFFLINE) !== (then & OFFLINE)) {
      this.map.setFeatureState({source: 'sensors', id: i}, {offline: now & OFFLINE ? 1 : 0});
    }
    if ((now & ~OFFLINE) === (then & ~OFFLINE)) return;
    this.marks.get(i)?.remove();
    this.marks.delete(i);
    const level = now & LEVEL;
    if (level) this.marks.set(i, this.#mark(this.features.get(i), level, Boolean(now & UNACKNOWLEDGED)));
  }

  #mark(feature, level, unacknowledged) {
    const {device, name} = feature.properties;
    const element = markElement(level, unacknowledged, `${device} ${name}`.trim());
    element.addEventListener('click', (event) => {
      event.stopPropagation();
      this.onChoose(feature);
    });
    return new Marker({element, anchor: 'center'}).setLngLat(feature.geometry.coordinates).addTo(this.map);
  }
}
