// What Dash finds in the browser: one namespace with one function a component.
import {CityMap} from './map/CityMap.js';
import {LiveFeed} from './live/LiveFeed.js';
import {Sparkline} from './Sparkline.js';

window.chengmai = Object.assign(window.chengmai ?? {}, {CityMap, LiveFeed, Sparkline});
