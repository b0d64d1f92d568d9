// The answer to a question, on top of the city: what to close, what stays without supply, how far gas may reach.
//
// Its features are GeoJSON with a `role`. Two colours: ink for what is to be acted on (the segment, its valves, the
// candidates), one tint for what is touched. Lines tell themselves apart by their dashes, too, and signs by shape.
import {PALETTE} from './palette.js';
import {LEAN, STEM, putSymbols} from './symbols.js';
import {FONTS, byZoom} from './style.js';

const SOURCE = 'answer';
export const FIRST = 'answer-areas';
const EMPTY = {type: 'FeatureCollection', features: []};

const role = (...names) => ['in', ['get', 'role'], ['literal', names]];
const shape = (type) => ['==', ['geometry-type'], type];
const wide = (factor) => byZoom(13, 2.2 * factor, 16, 5 * factor, 19, 11 * factor);
const layer = (id, type, filter, layout = {}) => ({id: `answer-${id}`, type, source: SOURCE, filter, layout});

const ACTED = ['segment', 'candidate'];
const MODELLED = ['boolean', ['get', 'modelled'], false];
const label = (size, extra) => ({'text-font': FONTS, 'text-size': size, 'text-optional': true, ...extra});
// What stands at a sign that leans (symbols.js); offsets of text are in ems, so pixels over its size.
const byLean = (left, up, right) => ['match', ['get', 'lean'], 'left', left, 'right', right, up];
// Signs shrink where a whole district is seen: a gas main may take thirty valves.
const bySight = (size) => ['interpolate', ['linear'], ['zoom'], 14.5, 0.6 * size, 16.3, size];
const sign = {'icon-size': bySight(1), 'icon-allow-overlap': true, 'icon-ignore-placement': true, 'text-allow-overlap': true};

function layers(words) {
  const line = {'line-cap': 'round', 'line-join': 'round'};
  const isLine = shape('LineString');
  return [
    layer('areas', 'fill', ['all', shape('Polygon'), role('building', 'radius')]),
    layer('edges', 'line', ['all', shape('Polygon'), role('building')]),
    layer('radius', 'line', ['all', shape('Polygon'), role('radius')]),
    layer('blocks', 'fill-extrusion', ['all', shape('Polygon'), role('building'), ['!', MODELLED]]),
    layer('casing', 'line', ['all', isLine, role(...ACTED, 'drain', 'unsupplied', 'washed')], line),
    layer('touched', 'line', ['all', isLine, role('drain')], line),
    layer('unsupplied', 'line', ['all', isLine, role('unsupplied')], {'line-join': 'round'}),
    layer('washed', 'line', ['all', isLine, role('washed')], {'line-join': 'round'}),
    layer('acted', 'line', ['all', isLine, role(...ACTED)], line),
    layer('manholes', 'circle', ['all', shape('Point'), role('manhole')]),
    layer('names', 'symbol', ['all', shape('Point'), role('building')], {
      ...label(12.5),
      'text-field': ['concat', ['get', 'name'], ['case', ['has', 'people'], ['concat', '\n', ['to-string', ['get', 'people']], ' ', words.people], '']],
      'symbol-sort-key': ['-', 0, ['coalesce', ['get', 'people'], 0]],
    }),
    layer('distances', 'symbol', ['all', shape('Point'), role('manhole')], {
      ...label(12, {'text-anchor': 'top', 'text-offset': [0, 0.7]}),
      'text-field': ['concat', ['get', 'name'], ['case', ['has', 'along_m'], ['concat', '\n', ['to-string', ['round', ['get', 'along_m']]], ' m'], '']],
      'symbol-sort-key': ['coalesce', ['get', 'along_m'], 0],
    }),
    layer('small', 'symbol', ['all', shape('Point'), role('hydrant')], {
      ...sign,
      'icon-image': 'sign-hydrant',
    }),
    layer('origin', 'symbol', role('origin'), {...sign, 'icon-image': 'sign-origin'}),
    layer('valves', 'symbol', role('valve', 'next_valve'), {
      ...label(bySight(15), {'text-offset': [0.6, -1.65]}),
      ...sign,
      'text-optional': false,
      'icon-anchor': 'bottom',
      'icon-image': ['concat', 'sign-', ['get', 'role']],
      'text-field': ['get', 'sign'],
      'symbol-sort-key': ['-', ['case', ['==', ['get', 'role'], 'valve'], 1000, 0], ['get', 'rank']],
    }),
    layer('ranks', 'symbol', ['has', 'lean'], {
      ...label(bySight(15), {'text-offset': byLean(...[-LEAN, 0, LEAN].map((x) => ['literal', [x / 15, (-STEM - 15) / 15]]))}),
      ...sign,
      'text-optional': false,
      'icon-anchor': 'bottom',
      'icon-image': ['concat', 'sign-', ['get', 'lean']],
      'text-field': ['get', 'sign'],
      'symbol-sort-key': ['-', 0, ['get', 'rank']],
    }),
    layer('titles', 'symbol', ['has', 'lean'], {
      ...label(13),
      'text-anchor': byLean('right', 'bottom', 'left'),
      'text-justify': byLean('right', 'center', 'left'),
      'text-offset': byLean(...[[-LEAN - 16, -STEM - 15], [0, -STEM - 30], [LEAN + 16, -STEM - 15]].map((at) => ['literal', at.map((px) => px / 13)])),
      'text-field': ['concat', ['get', 'name'], '\n', ['to-string', ['get', 'distance_m']], ' m'],
      'symbol-sort-key': ['get', 'rank'],
    }),
    layer('valve-names', 'symbol', ['all', shape('Point'), role('valve', 'next_valve')], {
      ...label(13, {'text-variable-anchor-offset': ['left', [1.9, -1.8], 'right', [-1.9, -1.8], 'top', [0, 0.5], 'bottom', [0, -3.2]]}),
      'text-field': ['get', 'name'],
      'symbol-sort-key': ['get', 'rank'],
    }),
  ];
}

function paint({theme, xray}) {
  const {ink, casing, touched} = PALETTE[theme];
  const text = (colour, halo, width) => ({'text-color': colour, 'text-halo-color': halo, 'text-halo-width': width});
  const names = text(ink, casing, 1.8);
  return {
    areas: {'fill-color': touched, 'fill-opacity': ['match', ['get', 'role'], 'radius', 0.1, 0.3]},
    edges: {'line-color': touched, 'line-width': 2},
    radius: {'line-color': ink, 'line-width': 2, 'line-dasharray': [3, 2]},
    blocks: {
      'fill-extrusion-color': touched,
      'fill-extrusion-height': ['get', 'height_m'],
      'fill-extrusion-opacity': xray ? 0.2 : theme === 'day' ? 0.42 : 0.6,
    },
    casing: {'line-color': casing, 'line-width': wide(1.6), 'line-opacity': 0.9},
    touched: {'line-color': touched, 'line-width': wide(0.9)},
    unsupplied: {'line-color': touched, 'line-width': wide(0.9), 'line-dasharray': [1.6, 1.1]},
    washed: {'line-color': touched, 'line-width': wide(0.9), 'line-dasharray': [0.5, 0.7]},
    acted: {'line-color': ink, 'line-width': wide(1.05)},
    manholes: {
      'circle-radius': byZoom(13, 3, 16, 5, 19, 9),
      'circle-color': casing,
      'circle-stroke-color': touched,
      'circle-stroke-width': 2.5,
    },
    names,
    distances: names,
    valves: {'text-color': ['match', ['get', 'role'], 'valve', casing, ink]},
    ranks: {'text-color': casing},
    titles: names,
    'valve-names': names,
  };
}

export class AnswerLayer {
  constructor(map, words) {
    this.map = map;
    map.addSource(SOURCE, {type: 'geojson', data: EMPTY, maxzoom: 18});
    // Signs and names stand above the sensors, lines and areas below.
    for (const each of layers(words)) map.addLayer(each, each.type === 'symbol' ? undefined : 'sensors');
  }

  /** Draw this answer and no other; null clears the map of it. */
  show(answer) {
    this.map.getSource(SOURCE).setData(answer?.features ?? EMPTY);
  }

  setLook(look) {
    putSymbols(this.map, PALETTE[look.theme]);
    for (const [name, properties] of Object.entries(paint(look))) {
      for (const [property, value] of Object.entries(properties)) this.map.setPaintProperty(`answer-${name}`, property, value);
    }
  }
}
