// The open alarms as the list shows them: worst level first, newest first within a level.

const before = (a, b) => a.level - b.level || b.onset - a.onset || (a.id < b.id ? -1 : 1);

export class AlarmBook {
  constructor() {
    this.byId = new Map();
    this.order = []; // ids as last shown
  }

  /** Take over the whole list. */
  reset(alarms) {
    this.byId = new Map(alarms.map((alarm) => [alarm.id, alarm]));
  }

  /** Take over what changed: alarms put in, ids dropped. */
  merge({put, drop}) {
    for (const alarm of put) this.byId.set(alarm.id, alarm);
    for (const id of drop) this.byId.delete(id);
  }

  /**
   * The rows to show. While `held`, no row that is on the screen moves or goes away: somebody's pointer may be on its
   * way to a button. What has gone is marked, what is new waits at the end, and both are counted for the heading.
   */
  rows(held) {
    if (!held) {
      const rows = [...this.byId.values()].sort(before);
      this.shown = new Map(this.byId);
      this.order = rows.map((alarm) => alarm.id);
      return {rows, waiting: 0};
    }
    const known = new Set(this.order);
    const fresh = [...this.byId.values()].filter((alarm) => !known.has(alarm.id)).sort(before);
    const old = this.order.map((id) => this.byId.get(id) ?? {...this.shown.get(id), gone: true});
    return {rows: [...old, ...fresh], waiting: fresh.length};
  }
}
