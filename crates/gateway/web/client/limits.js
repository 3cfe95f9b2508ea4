/** The numbers of the client that are no options. */

/** A gateway that says nothing of its pings sends them this often. */
export const PING_INTERVAL_DEFAULT_MS = 25_000;

/** A connection that lasted this long begins the count of attempts anew. */
export const STABLE_MS = 10_000;

/** The longest a timer of a browser can wait; longer ones fire at once. */
export const TIMER_MAX_MS = 0x7fff_ffff;

/** Unanswered publications on one connection; the others wait in the outbox rather than in the socket. */
export const WINDOW = 64;

/** Gateways know a key for five minutes: after four no repeat is made. */
export const KEY_HOLDS_MS = 240_000;

/** A name, such as a channel's or an event's. */
export const NAME_BYTES_MAX = 255;

/** The most commands that one message may have. */
export const BATCH_MAX = 256;

/** Own publications that a subscription tells apart by offset; older ones are forgotten first. */
export const SPARED_MAX = 1000;

/** So often in a row a WebSocket has to fail to open before polling is tried; more often, where one did open before. */
export const FAILURES_MAX = 2;
export const FAILURES_MAX_PROVEN = 4;

/** While polling, a WebSocket is tried again after this time, and after twice as long each time it fails. */
export const RETURN_FIRST_MS = 60_000;
export const RETURN_CEILING_MS = 600_000;

/** A session that was polled is left only once the WebSocket has its subscriptions: its user never seems to be gone. */
export const OVERLAP_MS = 3_000;
