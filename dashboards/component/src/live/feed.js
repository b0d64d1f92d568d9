// One connection to the server, shared by every component of the page.
//
// The server sends a snapshot when we connect and deltas afterwards. Text frames are JSON; a binary frame is the state
// of every sensor: a little-endian uint32 naming the device list it belongs to, then one byte a device.
// The feed never gives up: it connects again for ever, ever more slowly, and takes a silent line for a dead one.

const FIRST_RETRY_MS = 500;
const LAST_RETRY_MS = 10_000;
const DEAD_AFTER_MS = 15_000; // the server speaks twice a second

export class Feed extends EventTarget {
  constructor() {
    super();
    this.url = null;
    this.socket = null;
    this.retryMs = FIRST_RETRY_MS;
    this.lastHeard = null; // performance.now() of the last frame
    this.states = null; // {devices, bytes} of the last binary frame, for components that come late
    this.frame = null; // the last JSON frame
  }

  open(url) {
    if (this.url) return;
    this.url = new URL(url, location.href);
    this.url.protocol = this.url.protocol === 'https:' ? 'wss:' : 'ws:';
    setInterval(() => this.#watch(), 1000);
    this.#connect();
  }

  get connected() {
    return this.socket?.readyState === WebSocket.OPEN && this.lastHeard !== null;
  }

  /** Seconds since the server was last heard, or null if it never was. */
  get silenceSeconds() {
    return this.lastHeard === null ? null : (performance.now() - this.lastHeard) / 1000;
  }

  #connect() {
    const socket = new WebSocket(this.url);
    socket.binaryType = 'arraybuffer';
    this.socket = socket;
    this.attemptedAt = performance.now();
    socket.onmessage = ({data}) => this.#hear(data);
    socket.onclose = () => this.#reconnect(socket);
  }

  #reconnect(socket) {
    if (socket !== this.socket) return;
    this.socket = null;
    this.dispatchEvent(new Event('lost'));
    setTimeout(() => this.#connect(), this.retryMs * (0.7 + 0.6 * Math.random()));
    this.retryMs = Math.min(this.retryMs * 1.7, LAST_RETRY_MS);
  }

  #hear(data) {
    this.lastHeard = performance.now();
    this.retryMs = FIRST_RETRY_MS;
    if (data instanceof ArrayBuffer) {
      this.states = {devices: new DataView(data).getUint32(0, true), bytes: new Uint8Array(data, 4)};
      this.dispatchEvent(new Event('states'));
    } else {
      this.frame = JSON.parse(data);
      this.dispatchEvent(new Event('frame'));
    }
  }

  #watch() {
    const since = Math.max(this.lastHeard ?? 0, this.attemptedAt ?? 0);
    // A line that a cable or a proxy swallowed never closes by itself.
    if (this.socket && performance.now() - since > DEAD_AFTER_MS) {
      const dead = this.socket;
      dead.onclose = null;
      dead.onmessage = null;
      dead.close();
      this.#reconnect(dead);
    }
    this.dispatchEvent(new Event('second'));
  }
}

export const feed = new Feed();
