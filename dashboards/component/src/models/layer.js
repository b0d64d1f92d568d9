// Building models in their place, as a MapLibre custom layer. three.js comes only with the first model.
import {MercatorCoordinate} from 'maplibre-gl';

const LAYER = 'models';

/** The matrix from the model's metres (x east, y up, z south, as glTF has it) to the map's world, in doubles. */
function placeOf({lng_lat: lngLat, height_m: height, rotation_deg: rotation, scale}) {
  const origin = MercatorCoordinate.fromLngLat(lngLat, height);
  const unit = origin.meterInMercatorCoordinateUnits();
  return {x: origin.x, y: origin.y, z: origin.z, horizontal: unit * scale, vertical: unit, rotation: (rotation * Math.PI) / 180};
}

export class ModelLayer {
  /** `below` is the layer of the map that stays on top of the models. */
  constructor(map, script, below) {
    Object.assign(this, {map, script, below});
    this.scene = null;
    this.shown = '';
  }

  /** Show these models and no others. */
  async show(models, look) {
    const key = JSON.stringify(models);
    if (key === this.shown) return;
    this.shown = key;
    this.look = look;
    if (!models.length && !this.scene) return;
    const {ModelScene} = await import(this.script);
    const scene = new ModelScene(this.map, look);
    await Promise.all(models.map((model) => scene.add(model, placeOf(model))));
    if (key !== this.shown || !this.map.style) return;
    if (this.scene) this.map.removeLayer(LAYER);
    this.scene = scene;
    this.map.addLayer(scene.asLayer(LAYER), this.below);
    this.setLook(this.look);
  }

  /** The asset id of the element under a point of the screen, or null. */
  pick(point) {
    const {clientWidth, clientHeight} = this.map.getCanvas();
    return this.scene?.pick((point.x / clientWidth) * 2 - 1, 1 - (point.y / clientHeight) * 2) ?? null;
  }

  setLook(look) {
    this.look = look;
    this.scene?.setLook(look);
    this.map.triggerRepaint();
  }

  destroy() {
    this.shown = null;
    this.scene?.destroy();
  }
}
