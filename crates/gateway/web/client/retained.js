/** A channel's state as its subscriber keeps it: the newest publication of each key. */

/** @param {(state: Map, change?: object) => void} tell called with all of it, and with what has changed it. */
export function createRetained(tell) {
  const entries = new Map();
  return {
    /** Begins anew with the `state` of an answer; without one there is nothing. */
    begin(state = [], channel) {
      entries.clear();
      for (const publication of state) entries.set(publication.retain, { ...publication, channel });
      tell(entries);
    },

    /** What comes next may count in another epoch, where offsets begin anew: it is newer, whatever its offset. */
    forgetOffsets() {
      for (const [key, publication] of entries) entries.set(key, { ...publication, offset: undefined });
    },

    /** Takes what a publication says of its key. */
    put(publication) {
      const { retain, offset, data } = publication;
      // After a reconnect the state may be newer than what is recovered.
      if (retain === undefined || entries.get(retain)?.offset >= offset) return;
      const isChange = data === null ? entries.delete(retain) : entries.set(retain, publication);
      if (isChange) tell(entries, publication);
    },
  };
}
