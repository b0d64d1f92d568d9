// Colours of the map by theme. Normal is grey; saturated colour is kept for what is abnormal (ISA-101).
// `ink`, its `casing` and `touched` draw answers (overlay.js).
// Levels 1 to 3 stay separable for every kind of colour vision, and shape and number carry them first; level 4 is an
// outline.
export const PALETTE = {
  night: {
    ground: '#15181b',
    road: '#1f2429',
    river: '#1a2933',
    building: '#3a414a',
    gas: '#a08d4e',
    water: '#5286a8',
    drainage: '#7d858f',
    other: '#7d858f',
    node: '#5d666f',
    sensor: '#aab4bd',
    sensorEdge: '#15181b',
    offline: '#8a949d',
    label: '#c9d1d9',
    chosen: '#ffffff',
    ink: '#f2f5f7',
    casing: '#0c0e10',
    touched: '#d59be0',
  },
  day: {
    ground: '#dfe2e4',
    road: '#eceeef',
    river: '#c4d2da',
    building: '#b9bec3',
    gas: '#84722f',
    water: '#2f6690',
    drainage: '#646b73',
    other: '#646b73',
    node: '#868e96',
    sensor: '#4d565e',
    sensorEdge: '#f4f5f6',
    offline: '#5b656e',
    label: '#20262b',
    chosen: '#000000',
    ink: '#111417',
    casing: '#ffffff',
    touched: '#8c2f9e',
  },
};
