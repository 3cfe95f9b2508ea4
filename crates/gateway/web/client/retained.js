/** A channel's state as its subscriber keeps it: the newest publication of each key. */
export class Retained {
  /** The publications by key. */
  entries = new Map();

  /** Begins anew with the `state` of an answer; without one there is nothing. */
  begin(state = [], channel) {
    this.entries.clear();
    for (const publication of state) this.entries.set(publication.retain, { ...publication, channel });
  }

  /** What comes next may count in another epoch, where offsets begin anew: it is newer, whatever its offset. */
  forgetOffsets() {
    for (const [key, publication] of this.entries) this.entries.set(key, { ...publication, offset: undefined });
  }

  /** Takes what a publication says of its key; tells whether that changed anything. */
  put(publication) {
    const { retain, offset, data } = publication;
    if (typeof retain !== "string") return false;
    // After a reconnect the state may be newer than what is recovered.
    if (this.entries.get(retain)?.offset >= offset) return false;
    if (data === null) return this.entries.delete(retain);
    this.entries.set(retain, publication);
    return true;
  }
}
