// The signs of an answer on the map, drawn once a theme. Shape says what it is, the number or name beside it which one;
// none of them is a shape of the alarm marks (square, triangles, circle).

const RATIO = 2; // pixels drawn for one shown, so that they stay sharp
export const STEM = 12; // how far a sign stands above its place
export const LEAN = 34; // and how far beside it, where it leans
const BOX = {valve: [46, 37], next_valve: [46, 37], up: [30, 42], left: [98, 42], right: [98, 42], hydrant: [20, 20], origin: [34, 34]};

/** A tag with the valve of drawings (two triangles, ISO 14617) at its left; its number stands at the right. */
function tag(c, [width, height], fill, ink, edge) {
  const [low, foot, edgeWidth] = [height - STEM, width / 2, 2];
  c.beginPath();
  c.roundRect(edgeWidth, edgeWidth, width - 2 * edgeWidth, low - 2 * edgeWidth, 5);
  c.moveTo(foot - 6, low - edgeWidth);
  c.lineTo(foot, height - edgeWidth);
  c.lineTo(foot + 6, low - edgeWidth);
  c.lineWidth = 2 * edgeWidth;
  c.strokeStyle = edge;
  c.stroke();
  c.fillStyle = fill;
  c.fill();
  const middle = low / 2;
  c.beginPath();
  c.moveTo(7, middle - 6);
  c.lineTo(22, middle + 6);
  c.lineTo(22, middle - 6);
  c.lineTo(7, middle + 6);
  c.closePath();
  c.fillStyle = ink;
  c.fill();
}

/** A regular polygon around (x, y). */
function polygon(c, x, y, radius, corners) {
  c.beginPath();
  for (let i = 0; i < corners; i++) {
    const angle = (2 * Math.PI * i) / corners;
    c.lineTo(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
  }
  c.closePath();
}

/** A hexagon for a number, on a stem that leads from `aside` of its place to it. */
function hexagon(c, [width, height], {ink, casing}, aside) {
  const [foot, x, y, radius] = [width / 2, width / 2 + aside, 15, 13];
  for (const [line, colour] of [[6, casing], [2.5, ink]]) {
    c.beginPath();
    c.moveTo(x, y);
    c.lineTo(foot, height - 2);
    c.lineWidth = line;
    c.strokeStyle = colour;
    c.stroke();
  }
  polygon(c, x, y, radius, 6);
  c.lineWidth = 4;
  c.strokeStyle = casing;
  c.stroke();
  c.fillStyle = ink;
  c.fill();
}

const DRAW = {
  valve: (c, box, {ink, casing}) => tag(c, box, ink, casing, casing),
  next_valve: (c, box, {ink, casing}) => tag(c, box, casing, ink, ink),
  up: (c, box, colours) => hexagon(c, box, colours, 0),
  left: (c, box, colours) => hexagon(c, box, colours, -LEAN),
  right: (c, box, colours) => hexagon(c, box, colours, LEAN),
  hydrant(c, [width], {ink, casing}) {
    polygon(c, width / 2, width / 2, width / 2 - 2, 4);
    c.fillStyle = casing;
    c.fill();
    c.lineWidth = 2;
    c.strokeStyle = ink;
    c.stroke();
  },
  /** Where the question was asked: a cross-hair that leaves the middle free. */
  origin(c, [size], {ink, casing}) {
    const [middle, inner] = [size / 2, 8];
    for (const [width, colour] of [[6, casing], [2.5, ink]]) {
      c.lineWidth = width;
      c.strokeStyle = colour;
      c.beginPath();
      c.arc(middle, middle, inner, 0, 2 * Math.PI);
      for (const [x, y] of [[0, -1], [1, 0], [0, 1], [-1, 0]]) {
        c.moveTo(middle + x * inner, middle + y * inner);
        c.lineTo(middle + x * (middle - 2), middle + y * (middle - 2));
      }
      c.stroke();
    }
  },
};

function image(kind, colours) {
  const [width, height] = BOX[kind];
  const canvas = document.createElement('canvas');
  Object.assign(canvas, {width: width * RATIO, height: height * RATIO});
  const c = canvas.getContext('2d');
  c.scale(RATIO, RATIO);
  DRAW[kind](c, BOX[kind], colours);
  return c.getImageData(0, 0, canvas.width, canvas.height);
}

/** Give the map its signs in these colours, in the place of those of another theme. */
export function putSymbols(map, colours) {
  for (const kind of Object.keys(DRAW)) {
    const name = `sign-${kind}`;
    if (map.hasImage(name)) map.updateImage(name, image(kind, colours));
    else map.addImage(name, image(kind, colours), {pixelRatio: RATIO});
  }
}
