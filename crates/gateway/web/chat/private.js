/** A private conversation with one connection. It ends with that connection, and nobody keeps it. */

import { Conversation } from "./conversation.js";

/** What another connection and this one say to each other. */
export class Private extends Conversation {
  /** The other connection's id. */
  client;
  #origin;

  /**
   * @param {object} parts those of a conversation, and
   * @param {object} parts.from the other side, as far as it is known.
   */
  constructor({ from, ...parts }) {
    super(parts);
    this.client = from.client;
    this.#origin = from;
    this.note("Only the two of you see this. It is not kept, and ends when one of you disconnects.");
  }

  get title() {
    return this.people.label(this.#origin);
  }

  /** A private message. */
  receive(message) {
    this.#origin = message.from;
    if (message.event === "typing") this.heardTyping(message.from, message.data);
    else this.heard(message);
  }

  leave() {}

  refresh() {}

  deliver(data) {
    return this.gateway.send(this.client, data, { event: "message" });
  }

  tellTyping() {
    return this.gateway.send(this.client, { name: this.people.name }, { event: "typing" });
  }
}
