// The map's layers, and how they look by theme, X-ray and freshness. Only paint properties change afterwards:
// a new style would lose the state of every sensor.
import {PALETTE} from './palette.js';

export const FONTS = ['Noto Sans CJK SC', 'Noto Sans SC', 'Microsoft YaHei', 'sans-serif'];
export const byZoom = (...stops) => ['interpolate', ['exponential', 1.6], ['zoom'], ...stops];
const bySystem = (colours) =>
  ['match', ['get', 'system'], 'gas', colours.gas, 'water', colours.water, 'drainage', colours.drainage, colours.other];
const bySize = (width) => ['*', width, ['+', 1, ['*', 0.3, ['coalesce', ['get', 'size'], 0]]]];
const UNKNOWN_HEIGHT_M = 9;
const state = (name) => ['coalesce', ['feature-state', name], 0];
const chosen = ['boolean', ['feature-state', 'chosen'], false];

export const CLICKABLE = ['sensors', 'nodes', 'links', 'buildings'];

/** Paint properties of every layer that has any. */
function paint({theme, xray, stale}) {
  const colours = PALETTE[theme];
  const width = xray ? 1.5 : 1;
  const offline = ['==', state('offline'), 1];
  return {
    background: {'background-color': colours.ground},
    land: {'fill-color': ['match', ['get', 'kind'], 'water_body', colours.river, colours.road]},
    links: {
      'line-color': ['case', chosen, colours.chosen, bySystem(colours)],
      'line-opacity': xray ? 1 : 0.85,
      'line-width': byZoom(12, bySize(0.5 * width), 15, bySize(1.1 * width), 18, bySize(3.2 * width), 21, bySize(9 * width)),
    },
    nodes: {
      'circle-color': ['case', chosen, colours.chosen, colours.node],
      'circle-radius': byZoom(15, 1, 18, 3, 21, 8),
      'circle-opacity': 0.9,
    },
    buildings: {
      'fill-extrusion-color': ['case', chosen, colours.chosen, colours.building],
      'fill-extrusion-height': ['case', ['>', ['coalesce', ['get', 'height_m'], 0], 0], ['get', 'height_m'], UNKNOWN_HEIGHT_M],
      'fill-extrusion-opacity': xray ? 0.16 : 0.82,
    },
    sensors: {
      'circle-radius': byZoom(12, 1.6, 15, 3, 18, 5.5),
      // A sensor that says nothing, or whose word is old, is a hollow ring: never drawn as normal.
      'circle-color': colours.sensor,
      'circle-opacity': stale ? 0 : ['case', offline, 0, 1],
      'circle-stroke-color': ['case', offline, colours.offline, stale ? colours.offline : colours.sensorEdge],
      'circle-stroke-width': stale ? 1.6 : ['case', offline, 1.6, 1],
    },
    'sensor-names': {'text-color': colours.label, 'text-halo-color': colours.ground, 'text-halo-width': 1.4},
  };
}

const vector = (id, type, extra) => ({id, type, source: 'city', 'source-layer': id, ...extra});

function layers() {
  return [
    {id: 'background', type: 'background'},
    vector('land', 'fill'),
    vector('links', 'line', {layout: {'line-cap': 'round', 'line-join': 'round'}}),
    vector('nodes', 'circle', {minzoom: 15.5}),
    vector('buildings', 'fill-extrusion'),
    {id: 'sensors', type: 'circle', source: 'sensors'},
    {
      id: 'sensor-names',
      type: 'symbol',
      source: 'sensors',
      minzoom: 17.2,
      layout: {
        'text-field': ['get', 'device'],
        'text-font': FONTS,
        'text-size': 12,
        'text-anchor': 'top',
        'text-offset': [0, 0.9],
        'text-optional': true,
      },
    },
  ];
}

/** A style for the city of `config` (bounds, tiles, zooms). */
export function cityStyle(config, look) {
  const looks = paint(look);
  return {
    version: 8,
    light: {anchor: 'viewport', color: '#ffffff', intensity: 0.3},
    sources: {
      city: {type: 'vector', tiles: [tilesUrl(config)], minzoom: 11, maxzoom: 16},
      sensors: {type: 'geojson', data: {type: 'FeatureCollection', features: []}, maxzoom: 16},
    },
    layers: layers().map((layer) => ({...layer, paint: looks[layer.id]})),
  };
}

export const tilesUrl = (config) => new URL(config.tiles, location.href).href.replace(/%7B/g, '{').replace(/%7D/g, '}');

/** Repaint the layers of a map for another theme, X-ray or freshness. */
export function repaint(map, look) {
  for (const [layer, properties] of Object.entries(paint(look))) {
    for (const [name, value] of Object.entries(properties)) map.setPaintProperty(layer, name, value);
  }
}
