// The map of the city: loads what the server describes, follows the live feed, tells what was clicked.
import * as maplibregl from 'maplibre-gl';
import {feed} from '../live/feed.js';
import {ModelLayer} from '../models/layer.js';
import {AnswerLayer, FIRST} from './overlay.js';
import {SensorLayer} from './sensors.js';
import {CLICKABLE, cityStyle, repaint, tilesUrl} from './style.js';

const SCRIPTS = new URL('.', document.currentScript.src).href;
const PITCH = 45;
const MARGIN_PX = 28;
const SIGN_PX = 30; // how far a sign stands above its place
const OVERSCAN = 1.22; // the corners of a city's box are seldom built up
const FLIGHT_MS = 900;
const RETRY_MS = 3000;
const MAX_ANSWER_ZOOM = 18.2;
const stillness = matchMedia('(prefers-reduced-motion: reduce)');

const middle = ([west, south, east, north]) => [(west + east) / 2, (south + north) / 2];

async function fetchJson(url) {
  const answer = await fetch(url, {signal: AbortSignal.timeout(20_000)});
  if (!answer.ok) throw new Error(`${answer.status} ${url}`);
  return answer.json();
}

export class MapEngine {
  /** `say` takes what the map has to tell: {phase}, {chosen}. `keepClear` selects what lies over the map: flights avoid it. */
  constructor(element, {url, look, words, keepClear, say}) {
    Object.assign(this, {element, url, look, words, keepClear, say, map: null, gone: false});
    this.listeners = {states: () => this.#follow(), frame: () => this.#checkRevision()};
    this.#start();
  }

  async #start() {
    try {
      this.config = await fetchJson(this.url);
    } catch (error) {
      console.warn('map:', error.message);
      this.say({phase: 'error'});
      if (!this.gone) setTimeout(() => this.#start(), RETRY_MS);
      return;
    }
    if (this.gone) return;
    if (!this.config.bounds) {
      this.say({phase: 'empty'});
      feed.addEventListener('frame', this.listeners.frame);
      return;
    }
    this.#draw();
  }

  #draw() {
    maplibregl.setWorkerUrl(`${SCRIPTS}maplibre-worker.js`);
    const map = new maplibregl.Map({
      container: this.element,
      style: cityStyle(this.config, this.look),
      center: middle(this.config.bounds),
      zoom: 14,
      pitch: PITCH,
      maxPitch: 75,
      attributionControl: false,
      fadeDuration: 0,
      locale: this.words.controls,
      localIdeographFontFamily: '"Noto Sans CJK SC", "Microsoft YaHei", sans-serif',
      canvasContextAttributes: {antialias: true},
    });
    this.map = map;
    this.element.cityMap = map; // for the browser's console, and tests
    map.addControl(new maplibregl.NavigationControl({visualizePitch: true}), 'bottom-right');
    map.addControl(new maplibregl.ScaleControl({}), 'bottom-left');
    map.on('error', (event) => console.warn('map:', event.error?.message));
    map.once('style.load', () => this.#ready());
    map.on('click', (event) => this.#click(event));
    this.sensors = new SensorLayer(map, (feature) => this.#chooseSensor(feature));
    this.models = new ModelLayer(map, `${SCRIPTS}models.js`, FIRST);
  }

  async #ready() {
    this.loaded = true;
    this.answers = new AnswerLayer(this.map, this.words);
    this.showAll();
    repaint(this.map, this.look);
    this.answers.setLook(this.look);
    this.models.show(this.config.models, this.look);
    this.#hideModelled();
    feed.addEventListener('states', this.listeners.states);
    feed.addEventListener('frame', this.listeners.frame);
    await this.#loadSensors();
    this.setAnswer(this.answer);
    this.say({phase: 'ready'});
  }

  async #loadSensors() {
    try {
      this.sensors.load(await fetchJson(this.config.sensors));
      this.#choose(this.chosenDevice);
      this.#follow();
    } catch (error) {
      console.warn('sensors:', error.message);
    }
  }

  /** Draw the newest states, if they belong to the device list that is drawn; else fetch the list. */
  async #follow() {
    if (!feed.states) return;
    if (feed.states.devices === this.sensors.devices) {
      this.sensors.apply(feed.states.bytes);
    } else if (!this.fetching) {
      this.fetching = true;
      await this.#loadSensors();
      this.fetching = false;
    }
  }

  /** The city was loaded anew: fetch its description and its tiles again. */
  async #checkRevision() {
    if (this.refreshing || feed.frame.revision === this.config.revision) return;
    this.refreshing = true;
    try {
      const config = await fetchJson(this.url);
      const first = !this.config.bounds && config.bounds;
      this.config = config;
      if (first) {
        feed.removeEventListener('frame', this.listeners.frame);
        this.#draw();
      } else if (this.loaded) {
        this.map.getSource('city').setTiles([tilesUrl(config)]);
        this.models.show(config.models, this.look);
        this.#hideModelled();
      }
    } catch (error) {
      console.warn('map:', error.message);
    } finally {
      this.refreshing = false;
    }
  }

  /** A building that stands as a model, or in an answer, is not drawn as a grey block too. */
  #hideModelled() {
    const modelled = this.config.models.flatMap((model) => model.buildings);
    const answered = (this.answer?.features.features ?? []).filter(({properties}) => properties.role === 'building');
    const drawn = [...modelled, ...answered.map(({properties}) => properties.asset)];
    this.map.setFilter('buildings', ['!', ['in', ['get', 'asset'], ['literal', drawn]]]);
  }

  #click(event) {
    const box = [
      [event.point.x - 4, event.point.y - 4],
      [event.point.x + 4, event.point.y + 4],
    ];
    const found = this.map.queryRenderedFeatures(box, {layers: CLICKABLE});
    // What is nearest to a person's mind comes first: a sensor, then what stands or lies there.
    const hit = (layer) => found.find((feature) => feature.layer.id === layer);
    const sensor = hit('sensors');
    if (sensor) {
      this.#chooseSensor(this.sensors.features.get(sensor.id));
      return;
    }
    // Through transparent buildings a person means the pipes.
    const element = this.look.xray ? null : this.models.pick(event.point);
    if (element) {
      this.#highlight(null);
      this.say({chosen: {asset: element, at: Date.now()}});
      return;
    }
    const order = this.look.xray ? ['nodes', 'links', 'buildings'] : ['buildings', 'nodes', 'links'];
    const feature = order.map(hit).find(Boolean);
    this.#highlight(feature);
    this.say({chosen: feature ? {asset: feature.properties.asset, at: Date.now()} : null});
  }

  #chooseSensor(feature) {
    this.#highlight(null);
    this.say({chosen: {device: feature.properties.device, at: Date.now()}});
  }

  #highlight(feature) {
    if (this.highlighted) this.map.setFeatureState(this.highlighted, {chosen: false});
    this.highlighted = feature && {source: feature.source, sourceLayer: feature.sourceLayer, id: feature.id};
    if (this.highlighted) this.map.setFeatureState(this.highlighted, {chosen: true});
  }

  #choose(device) {
    this.chosenDevice = device;
    this.ring?.remove();
    const feature = device && this.sensors?.find(device);
    if (!feature) return;
    const element = document.createElement('div');
    element.className = 'chosen-ring';
    this.ring = new maplibregl.Marker({element}).setLngLat(feature.geometry.coordinates).addTo(this.map);
  }

  setLook(look) {
    this.look = look;
    if (!this.loaded) return;
    repaint(this.map, look);
    this.answers.setLook(look);
    this.models.setLook(look);
  }

  setChosen(device) {
    if (this.loaded) this.#choose(device);
    else this.chosenDevice = device;
  }

  /** Draw an answer and fly to its extent; null takes it away. */
  setAnswer(answer) {
    this.answer = answer;
    if (!this.loaded) return;
    this.answers.show(answer);
    this.element.classList.toggle('answering', Boolean(answer));
    this.#hideModelled();
    if (!answer?.bounds) return;
    this.map.easeTo({...this.#viewOf(answer.bounds), duration: stillness.matches ? 0 : FLIGHT_MS});
  }

  /** Where to stand to see `bounds` whole and as large as it goes: fitBounds reckons with a view that is not tilted. */
  #viewOf(bounds) {
    const {map} = this;
    const from = {center: map.getCenter(), zoom: map.getZoom()};
    const free = this.#free();
    map.jumpTo({center: middle(bounds), zoom: map.cameraForBounds(bounds).zoom - 1}); // all of it before the camera
    for (let round = 0; round < 2; round++) {
      const seen = this.#extent(bounds);
      const room = Math.min((free.right - free.left) / (seen.right - seen.left), (free.bottom - free.top) / (seen.bottom - seen.top));
      map.jumpTo({zoom: Math.min(map.getZoom() + Math.log2(room), MAX_ANSWER_ZOOM)});
      const {left, top, right, bottom} = this.#extent(bounds);
      map.panBy([(left + right - free.left - free.right) / 2, (top + bottom - free.top - free.bottom) / 2], {animate: false});
    }
    const view = {center: map.getCenter(), zoom: map.getZoom()};
    map.jumpTo(from);
    return view;
  }

  /** The part of the map, in pixels, that neither margins nor what lies over it take: signs stand above their place. */
  #free() {
    const {clientWidth, clientHeight} = this.map.getCanvas();
    const free = {left: MARGIN_PX, top: MARGIN_PX + SIGN_PX, right: clientWidth - MARGIN_PX, bottom: clientHeight - MARGIN_PX};
    const over = document.querySelector(this.keepClear)?.getBoundingClientRect();
    if (!over?.width) return free;
    const pane = this.element.getBoundingClientRect();
    if (over.width > pane.width / 2) free.bottom -= pane.bottom - over.top;
    else free.right -= pane.right - over.left;
    return free;
  }

  /** Where the corners of `bounds` are on the screen: {left, top, right, bottom}, pixels. */
  #extent([west, south, east, north]) {
    const corners = [[west, south], [west, north], [east, north], [east, south]].map((at) => this.map.project(at));
    const across = corners.map(({x}) => x);
    const down = corners.map(({y}) => y);
    return {left: Math.min(...across), top: Math.min(...down), right: Math.max(...across), bottom: Math.max(...down)};
  }

  flyTo({lngLat, zoom}) {
    this.map?.flyTo({
      center: lngLat,
      zoom: Math.max(zoom ?? 17.2, this.map.getZoom()),
      duration: stillness.matches ? 0 : FLIGHT_MS,
    });
  }

  /** Frame the whole city: as large as it goes, seen from the south. */
  showAll() {
    const {map} = this;
    if (!map) return;
    map.fitBounds(this.config.bounds, {padding: MARGIN_PX, pitch: PITCH, bearing: 0, animate: false});
    // A tilted view is fitted too small: measure where the corners really are, then enlarge and centre.
    const {left, top, right, bottom} = this.#extent(this.config.bounds);
    const {clientWidth, clientHeight} = map.getCanvas();
    const room = Math.min((clientWidth - 2 * MARGIN_PX) / (right - left), (clientHeight - 2 * MARGIN_PX) / (bottom - top));
    map.jumpTo({zoom: map.getZoom() + Math.log2(room * OVERSCAN)});
    const seen = this.#extent(this.config.bounds);
    map.panBy([0, (seen.top + seen.bottom - clientHeight) / 2], {animate: false});
  }

  destroy() {
    this.gone = true;
    feed.removeEventListener('states', this.listeners.states);
    feed.removeEventListener('frame', this.listeners.frame);
    this.models?.destroy();
    this.map?.remove();
  }
}
