// Building models drawn by three.js into MapLibre's own canvas and depth buffer.
//
// Each model keeps its local frame: the camera's matrix is made for it in doubles, so nothing jitters far from (0, 0).
import {
  AmbientLight,
  Camera,
  Color,
  DirectionalLight,
  Matrix4,
  Raycaster,
  Scene,
  Vector3,
  WebGLRenderer,
} from 'three';
import {GLTFLoader} from 'three/examples/jsm/loaders/GLTFLoader.js';

// Each vertex carries the number of its element; the glTF asset's extras list [GlobalId, class, name] by that number.
const ELEMENT = '_feature_id_0';

const GREY = {night: new Color(0x454d56), day: new Color(0xaeb4b9)};

function placeMatrix(place) {
  return new Matrix4()
    .makeTranslation(place.x, place.y, place.z)
    .scale(new Vector3(place.horizontal, -place.horizontal, place.vertical))
    .multiply(new Matrix4().makeRotationZ(place.rotation))
    .multiply(new Matrix4().makeRotationX(Math.PI / 2));
}

export class ModelScene {
  constructor(map, look) {
    this.map = map;
    this.look = look;
    this.models = [];
    this.camera = new Camera();
  }

  async add({url, source}, place) {
    const gltf = await new GLTFLoader().loadAsync(url);
    const scene = new Scene();
    scene.add(new AmbientLight(0xffffff, 1.3));
    const sun = new DirectionalLight(0xffffff, 1.6);
    sun.position.set(-30, 80, 50);
    scene.add(sun, gltf.scene);
    scene.updateMatrixWorld(true);
    const elements = gltf.parser.json.asset.extras?.elements ?? [];
    this.models.push({source, scene, elements, place: placeMatrix(place), matrix: new Matrix4()});
  }

  asLayer(id) {
    return {
      id,
      type: 'custom',
      renderingMode: '3d',
      onAdd: (map, gl) => {
        this.renderer = new WebGLRenderer({canvas: map.getCanvas(), context: gl, antialias: true});
        this.renderer.autoClear = false;
      },
      render: (gl, {defaultProjectionData}) => this.#render(defaultProjectionData.mainMatrix),
    };
  }

  #render(mainMatrix) {
    const world = new Matrix4().fromArray(mainMatrix);
    this.renderer.resetState();
    for (const model of this.models) {
      model.matrix.multiplyMatrices(world, model.place);
      this.camera.projectionMatrix.copy(model.matrix);
      this.renderer.render(model.scene, this.camera);
    }
    this.renderer.resetState();
  }

  setLook(look) {
    this.look = look;
    for (const {scene} of this.models) {
      scene.traverse(({material}) => {
        if (!material) return;
        material.userData.opacity ??= material.opacity;
        material.userData.colour ??= material.color?.clone();
        // Greyed like everything that is normal; enough of its own colour is left to tell walls from glass and pipes.
        material.color?.copy(material.userData.colour).lerp(GREY[look.theme], 0.6);
        material.transparent = look.xray || material.userData.opacity < 1;
        material.opacity = look.xray ? 0.12 : material.userData.opacity;
        material.depthWrite = !look.xray;
      });
    }
  }

  /** The asset id under a point in normalised device coordinates, or null. */
  pick(x, y) {
    let nearest = null;
    for (const {source, matrix, scene, elements} of this.models) {
      const back = new Matrix4().copy(matrix).invert();
      const near = new Vector3(x, y, -1).applyMatrix4(back);
      const far = new Vector3(x, y, 1).applyMatrix4(back);
      const ray = new Raycaster(near, far.sub(near).normalize());
      const [hit] = ray.intersectObject(scene, true);
      if (!hit) continue;
      const depth = hit.point.clone().applyMatrix4(matrix).z;
      const number = hit.object.geometry.attributes[ELEMENT]?.getX(hit.face.a);
      if (nearest && nearest.depth <= depth) continue;
      nearest = {depth, asset: elements[number] ? `${source}:element:${elements[number][0]}` : null};
    }
    return nearest?.asset ?? null;
  }

  destroy() {
    for (const {scene} of this.models) scene.traverse(({geometry, material}) => [geometry, material].forEach((part) => part?.dispose()));
    this.models = [];
  }
}
