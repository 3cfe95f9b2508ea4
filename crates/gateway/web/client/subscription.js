/** One channel as its subscriber sees it: every publication once and in order, or word that some are lost. */

import { createBackoff } from "./advice.js";
import { SPARED_MAX } from "./limits.js";
import { askToken } from "./time.js";
import { callSafely } from "./wire.js";

/** Reasons for which a gateway ends a subscription only for now. */
const PASSING = ["rate_limited", "unavailable", "unknown_outcome", "internal"];

/**
 * A subscription, from `Gateway.subscribe` until `unsubscribe` or until the gateway ends it.
 *
 * @param {string} channel
 * @param {import("../client.d.ts").SubscribeOptions} options
 * @param {object} context time, and the connection: `open()`.
 * @param {() => void} forget called once it is over.
 * @returns {object} `seen`: what the application gets; the rest is the client's.
 */
export const createSubscription = (channel, { members, recover, getToken, ...handlers }, context, forget) => {
  const { after, open, random } = context;
  const backoff = createBackoff(random);
  /** Offsets of own publications with `echo: false`: a recovery would bring them. */
  const spared = new Set();
  /** The newest publication of each key, if anybody wants to know. */
  const entries = handlers.onState && new Map();
  let state = "waiting";
  /** Of the last publication seen; none before the first answer and in channels without history. */
  let position = recover ? { ...recover } : undefined;

  /** There is a connection: asks, if it has not yet. */
  const resume = () => {
    if (state !== "waiting" || !open()) return;
    state = "subscribing";
    if (!getToken) return say();
    const connection = open();
    const ifStill = (act) => (result) => connection === open() && state === "subscribing" && act(result);
    askToken(getToken, context, channel).then(ifStill(say), ifStill(end));
  };

  const say = (token) => {
    const wanted = { recover: position, members, state: entries ? undefined : false };
    open().say({ type: "subscribe", channel, token, ...wanted }, (reply, error) => {
      if (state === "ended") return;
      if (!error) accept(reply);
      else if (error.temporary) askLater(error.retryAfterMs);
      else end(error);
    });
  };

  const askLater = (ms = backoff.next()) => {
    lost();
    after(ms, resume);
  };

  /** The connection or the attempt has failed: the position stays. */
  const lost = () => {
    if (state !== "ended") state = "waiting";
  };

  /** The gateway's `subscribed`: what was missed, and from where it goes on. */
  const accept = ({ publications = [], state: retained = [], ...told }) => {
    const { epoch, offset, recovered } = told;
    const before = position?.offset;
    // A history that has lost its newest part counts the same offsets again: nothing of it is known.
    const goesOn = position?.epoch === epoch && before <= offset;
    state = "subscribed";
    backoff.lasted(Infinity);
    if (!goesOn) begin(epoch, publications.length > 0 ? publications[0].offset - 1 : offset);
    call("onSubscribed", told);
    if (entries) {
      entries.clear();
      for (const publication of retained) entries.set(publication.retain, { ...publication, channel });
      tellState();
    }
    if (before !== undefined && !recovered) {
      call("onGap", { channel, ...(goesOn && hole(before, publications, offset)), epoch, cause: "not_recovered" });
    }
    publications.forEach(deliver);
    if (position) goTo(offset);
  };

  /** Nothing of this epoch has been seen but what is up to this offset. */
  const begin = (epoch, offset) => {
    spared.clear();
    position = epoch && { epoch, offset };
  };

  const deliver = (delivered) => {
    const publication = { ...delivered, channel };
    const { offset } = publication;
    if (position && offset !== undefined) {
      const isKnown = offset <= position.offset || spared.has(offset);
      if (offset > position.offset) goTo(offset);
      if (isKnown) return;
    }
    call("onPublication", publication);
    keep(publication);
  };

  const tellState = (change) => call("onState", entries, change);

  const keep = (publication) => {
    const { retain, offset, data } = publication;
    // After a reconnect the state may be newer than what is recovered.
    if (!entries || retain === undefined || entries.get(retain)?.offset >= offset) return;
    const isChange = data === null ? entries.delete(retain) : entries.set(retain, publication);
    if (isChange) tellState(publication);
  };

  const gap = (told) => {
    const { to, epoch } = told;
    if (epoch && epoch !== position?.epoch) {
      // Where it names no offset: from the beginning of the new epoch.
      begin(epoch, to ?? 0);
      // What comes next is newer than all that is kept, whatever its offset.
      entries?.forEach((publication, key) => entries.set(key, { ...publication, offset: undefined }));
    } else if (position && to) {
      goTo(to);
    }
    call("onGap", { ...told, cause: "gap" });
  };

  /** A publication of this client with `echo: false` has this position: it will not come, unless by a recovery. */
  const spare = ({ epoch, offset }) => {
    if (!position || position.epoch !== epoch || offset <= position.offset) return;
    spared.add(offset);
    if (spared.size > SPARED_MAX) spared.delete(spared.values().next().value);
    goTo(position.offset);
  };

  /** Everything up to this offset is done with, and so are own publications that would come next. */
  const goTo = (offset) => {
    for (const done of spared) if (done <= offset) spared.delete(done);
    while (spared.delete(offset + 1)) offset += 1;
    position.offset = offset;
  };

  /** The gateway has ended or refused it for good. */
  const end = ({ code, message: reason }) => {
    if (finish()) callSafely(handlers.onEnd, { channel, code, reason });
  };

  const finish = () => {
    if (state === "ended") return false;
    state = "ended";
    forget();
    return true;
  };

  const call = (name, ...told) => {
    // A handler may have ended it in between.
    if (state !== "ended") callSafely(handlers[name], ...told);
  };

  /** What the gateway pushes for this channel, by type. */
  const heard = {
    publication: deliver,
    gap,
    join: (pushed) => call("onJoin", pushed),
    leave: (pushed) => call("onLeave", pushed),
    unsubscribed({ code, reason }) {
      // A token of its own has ended: there may be a next.
      if (PASSING.includes(code) || (getToken && code === "unauthenticated")) askLater();
      else end({ code, message: reason });
    },
  };

  const push = (type, pushed) => {
    // Until the answer is there pushes belong to an earlier subscription: what they bring is recovered.
    if (state === "subscribed") heard[type]?.(pushed);
  };

  const seen = {
    channel,
    get state() {
      return state;
    },
    get position() {
      return position ? { ...position } : null;
    },
    unsubscribe() {
      // That there was nothing to leave is as good.
      if (finish()) open()?.say({ type: "unsubscribe", channel }, () => {});
    },
  };
  return { seen, resume, lost, push, spare };
};

/** The first and the last offset that are missing between a position and the channel's newest offset, if any is. */
const hole = (after, publications, newest) => {
  let from;
  let to;
  for (const { offset } of [...publications, { offset: newest + 1 }]) {
    if (offset > after + 1) {
      from ??= after + 1;
      to = offset - 1;
    }
    after = Math.max(after, offset);
  }
  return from && { from, to };
};
