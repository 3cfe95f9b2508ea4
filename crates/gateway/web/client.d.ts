/** Types of the browser's client; what everything means is said in client.js. */

/** A place in a channel's history: the epoch names one life of the history, and the offset counts in it. */
export interface Position {
  epoch: string;
  offset: number;
}

/** Who published or sent. */
export interface Origin {
  /** The connection's id, which `send` takes. */
  client: string;
  /** The user of its token, if it has one. */
  user?: string;
  /** What its token says of the user. */
  info?: unknown;
}

export interface Publication<Data = unknown> {
  channel: string;
  data: Data;
  event?: string;
  /** The key it is retained under; null as `data` takes that out of the channel's state. */
  retain?: string;
  /** Absent for volatile publications and in channels without history. */
  offset?: number;
  /** Unix milliseconds, by the clock of the node that took it. */
  time: number;
  /** Absent for publications from a backend. */
  from?: Origin;
  /** `data` is binary. */
  encoding?: "base64";
}

export interface Member {
  /** The user; for a connection without one its id. */
  user: string;
  /** How many connections. */
  clients: number;
  info?: unknown;
}

export interface PrivateMessage<Data = unknown> {
  from: Origin;
  data: Data;
  event?: string;
  encoding?: "base64";
}

export interface Presence {
  channel: string;
  /** Absent in channels with very many users, and if only counts were asked for. */
  members?: Member[];
  clients: number;
  users: number;
}

export interface History<Data = unknown> {
  channel: string;
  epoch: string;
  /** The channel's newest offset. */
  offset: number;
  publications: Publication<Data>[];
}

/** Publications that do not come: ask `history` for those it names, in case it still has them, or reload. */
export interface Gap {
  channel: string;
  /** The first and the last offset lost, where they are known. */
  from?: number;
  to?: number;
  /** The epoch from here on. */
  epoch?: string;
  /** Lost while connected, or too old when the client came back. */
  cause: "gap" | "not_recovered";
}

export interface SubscribeOptions<Data = unknown> {
  /** Where to go on, such as a `position` of a page before this one. */
  recover?: Position | null;
  /** Ask who is there: `onSubscribed` is told. */
  members?: boolean;
  /**
   * A token for this channel alone, where the subscription asks for one: called for each attempt, and again when it ends.
   * Where it throws, the subscription ends.
   */
  getToken?(channel: string): string | undefined | Promise<string | undefined>;
  onSubscribed?(subscribed: SubscribedInfo): void;
  /** Called in order and once for each. */
  onPublication?(publication: Publication<Data>): void;
  /**
   * Asks for the channel's state, the newest publication of each key that is retained, and keeps it up to date: called with
   * all of it after `onSubscribed` (again after every reconnect), and after each publication that changed it. What this
   * client retains with `echo: false` does not come back, so put that there yourself.
   */
  onState?(state: ReadonlyMap<string, Publication<Data>>, change?: Publication<Data>): void;
  /** Called before whatever comes after the gap. */
  onGap?(gap: Gap): void;
  onJoin?(event: { channel: string; member: Member }): void;
  onLeave?(event: { channel: string; member: Member; cause: "left" | "lost" | "node_lost" }): void;
  /** The gateway has refused or ended it: it will not come back by itself. */
  onEnd?(event: { channel: string; code: string; reason: string }): void;
}

/** The gateway's answer, before what was missed is delivered; again after every reconnect. */
export interface SubscribedInfo extends Partial<Omit<Presence, "channel">>, Partial<Position> {
  channel: string;
  recovered: boolean;
}

export interface Subscription {
  readonly channel: string;
  readonly state: "waiting" | "subscribing" | "subscribed" | "ended";
  /** The last publication seen; null before the first answer and in channels without history. */
  readonly position: Position | null;
  /** Ends it; nothing is called any more. */
  unsubscribe(): void;
}

export interface PublishOptions {
  /** The application's name for what happened. */
  event?: string;
  /** Makes a repeat harmless. Only for channels with history, and not with `volatile`. */
  key?: string;
  /** Keeps it in the channel's state, as the newest under this key; null as data takes the key out. Needs history. */
  retain?: string;
  /** false spares this connection. */
  echo?: boolean;
  /** Leaves it out of the history; it is delivered at most once and does not wait for a connection. */
  volatile?: boolean;
  /** How long it may wait, with all its repeats. */
  timeoutMs?: number;
}

/** What timers are made with; for tests. */
export interface Clock {
  now(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

export interface GatewayOptions {
  /** A token to show whenever connecting. */
  token?: string;
  /** Asked for a token before every connection, and before the one shown ends; instead of `token`. May have none. */
  getToken?: () => string | undefined | Promise<string | undefined>;
  /** A WebSocket class, where there is no global one. */
  WebSocket?: unknown;
  /**
   * What may be used (both). Where a WebSocket does not open twice in a row (four times, if one did before), the gateway is
   * polled, and while it is a WebSocket is tried again after a minute, two, four, up to ten.
   */
  transports?: readonly Transport[];
  /** Give every publication a random key. Channels without history refuse them. */
  keys?: boolean;
  /** How many publications may be unanswered (1000). */
  queueMessages?: number;
  /** How many bytes they may have together (1 MiB). */
  queueBytes?: number;
  /** How long a publication may wait (30 s), if it does not say. */
  publishTimeoutMs?: number;
  /** How long all other commands, and `getToken`, may take (10 s). */
  commandTimeoutMs?: number;
  /** How long connecting may take (10 s). */
  welcomeTimeoutMs?: number;
  /** How long a sign of life may take once it was asked for (10 s). */
  pongTimeoutMs?: number;
  /** The bound of the first wait before coming back (500 ms); doubled for each further one. */
  backoffFirstMs?: number;
  /** The bound of all waits (20 s). */
  backoffCeilingMs?: number;
  /** Told every message as text, as it goes and comes. */
  onFrame?: (direction: "in" | "out", text: string) => void;
  clock?: Clock;
  random?: () => number;
}

export type Transport = "websocket" | "poll";

export type GatewayState = "connecting" | "connected" | "waiting" | "closed";

export type StateDetail =
  | { state: "connecting" }
  /** Also when a WebSocket takes over from polling. */
  | { state: "connected"; transport: Transport; client: string; node: string }
  | { state: "waiting"; delayMs: number; code: number; reason: string }
  | { state: "closed"; code: number; reason: string };

export interface GatewayEvents {
  state: CustomEvent<StateDetail>;
  message: CustomEvent<PrivateMessage>;
  expiring: CustomEvent<{ in_ms: number }>;
  error: CustomEvent<GatewayError>;
}

/** Why something was not done: one of the gateway's codes, or one of those named here. */
export class GatewayError extends Error {
  readonly code:
    | "offline" | "queue_full" | "timeout" | "connection_lost" | "unknown_outcome" | "closed" | (string & {});
  readonly temporary: boolean;
  readonly retryAfterMs?: number;
}

export class Gateway extends EventTarget {
  constructor(url: string, options?: GatewayOptions);
  readonly state: GatewayState;
  /** null while there is no connection. */
  readonly transport: Transport | null;
  readonly client: string | null;
  readonly node: string | null;
  readonly maxMessageBytes: number | null;
  readonly queued: { messages: number; bytes: number };
  connect(): Promise<void>;
  close(): void;
  auth(token: string): Promise<{ user: string; expires_in?: number } | undefined>;
  subscribe<Data = unknown>(channel: string, options?: SubscribeOptions<Data>): Subscription;
  publish(channel: string, data: unknown, options?: PublishOptions): Promise<Partial<Position>>;
  send(to: string, data: unknown, options?: { event?: string }): Promise<void>;
  presence(channel: string, options?: { countOnly?: boolean }): Promise<Presence>;
  history<Data = unknown>(
    channel: string,
    options?: { limit?: number; since?: number | Position; reverse?: boolean },
  ): Promise<History<Data>>;
  /** The round trip to the gateway, in ms. */
  ping(): Promise<number>;
  addEventListener<Name extends keyof GatewayEvents>(
    name: Name,
    listener: (event: GatewayEvents[Name]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(name: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<Name extends keyof GatewayEvents>(
    name: Name,
    listener: (event: GatewayEvents[Name]) => void,
    options?: boolean | EventListenerOptions,
  ): void;
  removeEventListener(name: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}
