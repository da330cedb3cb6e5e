// A connection to the node that reconnects by the rules of docs/protocol.md.
import { explain } from "./codes.js";
import { fromBase64 } from "./format.js";

const pingEvery = 2000; // ms; often, because this page draws the round-trip times

const refused = new Set([4401, 4403]); // codes whose text says what is wrong with the credentials

/**
 * The subprotocols to offer. Pages can set no header, so a token is one of them, beside the encoding that the server is
 * to answer. One that does not look like a JSON Web Token is marked.
 */
function protocols(encoding, token) {
  if (!token) return encoding === "plain" ? [] : [encoding];
  const jwt = /^ey[\w-]*\.[\w-]+\.[\w-]*$/.test(token);
  return [encoding === "plain" ? "belfry.plain" : encoding, jwt ? token : `bearer.${token}`];
}

/**
 * Emits "change" (something about it is different), "message" (detail: at, id,
 * topics, text or bytes), "rtt" (detail: ms) and "event" (detail: words).
 */
export class Connection extends EventTarget {
  state = "connecting"; // or "connected", "lost"
  session = "";
  user = "";
  proven = false; // a token says who the user is
  encoding = "";
  since = 0; // performance.now() of the beginning
  hello = null;
  bye = null;
  trouble = ""; // why the last connection ended
  retryAt = 0; // performance.now() of the next attempt; 0: none
  topics = new Map(); // name → "wanted" or "subscribed"

  #url;
  #wanted = { uid: "", encoding: "belfry.v1", token: "" };
  #socket = null;
  #attempt = 0;
  #timer = 0;
  #pinger = 0;
  #ref = 0;
  #advised = false; // whether the server said when to come back
  #waiting = new Map(); // ref → { sent, done(error) }

  constructor(url) {
    super();
    this.#url = url;
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.#hurry();
    });
  }

  /** Reconnects as another user or with another encoding. With a token ("" for none) uid does not count. */
  open(uid, encoding, token) {
    this.#wanted = { uid, encoding, token };
    this.#attempt = 0;
    this.#start();
  }

  retry() {
    if (this.state === "lost") this.#start();
  }

  /** Subscribes; plain clients can do so only by reconnecting. */
  subscribe(topic) {
    if (this.topics.has(topic)) return;
    this.topics.set(topic, "wanted");
    if (this.#canCommand()) {
      this.#command({ type: "sub", topic }, (error) => {
        if (error) {
          this.topics.delete(topic);
          this.#emit("refused", error.message);
        } else if (this.topics.has(topic)) {
          this.topics.set(topic, "subscribed"); // unless it was unsubscribed meanwhile
        }
        this.#emit("change");
      });
    } else if (this.state === "connected") {
      this.#start();
    }
    this.#emit("change");
  }

  unsubscribe(topic) {
    this.topics.delete(topic);
    if (this.#canCommand()) this.#command({ type: "unsub", topic }, () => {});
    else if (this.state === "connected") this.#start();
    this.#emit("change");
  }

  #canCommand() {
    return this.state === "connected" && this.encoding === "belfry.v1";
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #start() {
    this.#stop();
    this.state = "connecting";
    const { uid, encoding, token } = this.#wanted;
    this.encoding = encoding;
    this.proven = token !== "";
    this.user = this.proven ? "" : uid; // the hello says whom the token names
    this.retryAt = 0;
    const query = new URLSearchParams();
    if (this.user) query.set("uid", this.user);
    for (const topic of this.topics.keys()) {
      query.append("topic", topic);
      this.topics.set(topic, "wanted");
    }
    const socket = new WebSocket(`${this.#url}?${query}`, protocols(encoding, token));
    this.#socket = socket;
    socket.binaryType = "arraybuffer";
    let opened = false;
    socket.onopen = () => {
      opened = true;
      if (this.encoding === "plain") this.#up(null);
    };
    socket.onmessage = (e) => this.#received(e.data);
    socket.onclose = (e) => this.#closed(e.code, opened, e.reason);
    this.#emit("change");
  }

  /** Drops the socket and ignores its further events. */
  #stop() {
    clearTimeout(this.#timer);
    clearInterval(this.#pinger);
    this.#waiting.clear();
    this.session = "";
    this.hello = null;
    this.bye = null;
    const socket = this.#socket;
    this.#socket = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  #up(hello) {
    this.state = "connected";
    this.since = performance.now();
    this.trouble = "";
    this.#attempt = 0;
    this.hello = hello;
    if (hello) {
      this.session = hello.session;
      this.user = hello.uid ?? "";
      this.#pinger = setInterval(() => this.#ping(), pingEvery);
      this.#ping();
    }
    const missing = [];
    for (const topic of this.topics.keys()) {
      if (!hello || hello.topics?.includes(topic)) this.topics.set(topic, "subscribed");
      else missing.push(topic); // added while connecting
    }
    for (const topic of missing) {
      this.topics.delete(topic);
      this.subscribe(topic);
    }
    this.#emit("event", `Connected${hello ? ` as session ${hello.session}` : ""}.`);
    this.#emit("change");
  }

  #received(data) {
    const at = new Date();
    if (this.encoding === "plain") {
      const message = typeof data === "string" ? { text: data } : { bytes: new Uint8Array(data) };
      this.#emit("message", { at, id: "", topics: [], ...message });
      return;
    }
    const m = JSON.parse(data);
    switch (m.type) {
      case "hello":
        return this.#up(m);
      case "msg":
        this.#emit("message", {
          at,
          id: m.id ?? "",
          topics: m.topic ? [m.topic] : (m.topics ?? []),
          ...(m.binary ? { bytes: fromBase64(m.data) } : { text: m.data }),
        });
        if (m.ack) {
          this.#acknowledge(m.id);
        }
        return;
      case "ack":
      case "err":
        return this.#answered(m);
      case "bye":
        this.bye = m;
    }
  }

  /** Tells a backend that waits for it that the message is on the page. An event stream cannot. */
  #acknowledge(id) {
    this.#socket?.send?.(JSON.stringify({ type: "ack", id }));
  }

  #command(command, done) {
    const ref = ++this.#ref;
    this.#waiting.set(ref, { sent: performance.now(), done });
    this.#socket.send(JSON.stringify({ ...command, ref }));
  }

  #answered(m) {
    const waiting = this.#waiting.get(m.ref);
    if (!waiting) return;
    this.#waiting.delete(m.ref);
    waiting.done(m.type === "err" ? m : null, performance.now() - waiting.sent);
  }

  /** Pings. A missing answer ends the connection, because the browser may not notice a dead one for a long time. */
  #ping() {
    const limit = (this.hello.pong || 10) * 1000;
    const oldest = this.#waiting.values().next().value;
    if (oldest && performance.now() - oldest.sent > limit) {
      this.#closed(1006, true, "");
      return;
    }
    this.#command({ type: "ping" }, (error, ms) => this.#emit("rtt", ms));
  }

  #closed(code, opened, reason) {
    const bye = this.bye;
    const meaning = explain(code, opened);
    const back = bye ? bye.reconnect : meaning.back;
    this.#stop();
    this.state = "lost";
    this.trouble = code === 1006 ? meaning.words : `${meaning.words} (${code}${bye ? ` ${bye.reason}` : ""})`;
    if (refused.has(code) && reason) this.trouble += ` The server says: ${reason}.`;
    for (const topic of this.topics.keys()) this.topics.set(topic, "wanted");
    this.#advised = Boolean(bye);
    if (back) {
      const backoff = Math.min(30, 2 ** this.#attempt++) * (0.5 + Math.random() / 2);
      const wait = 1000 * Math.max(backoff, bye?.after ?? 0);
      this.retryAt = performance.now() + wait;
      this.#timer = setTimeout(() => this.#start(), wait);
    }
    if (opened) this.#emit("event", this.trouble);
    this.#emit("change");
  }

  /** The device is back online: an attempt that waits for its backoff starts at once. */
  #hurry() {
    if (this.retryAt && !this.#advised) this.#start();
  }
}
