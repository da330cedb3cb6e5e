// The messages that arrived, the newest first.
import { clock, hexDump, milliseconds, size } from "./format.js";

const mostRows = 200;
const mostText = 4000; // characters shown of one message
const mostBytes = 512; // bytes shown of one message

export class Feed {
  #list;
  #changed;
  #queue = []; // rows to be added, the oldest first
  #scheduled = false;
  #arrived = new Map(); // id → { row, at } of what is shown
  #pushed = new Map(); // id → when this page pushed it

  received = 0;
  bytes = 0;

  /** changed is called after rows were added or removed. */
  constructor(list, changed) {
    this.#list = list;
    this.#changed = changed;
  }

  get length() {
    return this.#list.childElementCount;
  }

  clear() {
    this.#list.replaceChildren();
    this.#queue.length = 0;
    this.#arrived.clear();
    this.received = this.bytes = 0;
    this.#changed();
  }

  message(m) {
    const length = m.bytes ? m.bytes.length : new TextEncoder().encode(m.text).length;
    this.received++;
    this.bytes += length;
    const row = element("li", "message");
    const head = element("div", "message-head");
    head.append(time(m.at));
    for (const topic of m.topics) head.append(element("span", "tag", topic));
    if (m.bytes) head.append(element("span", "tag binary", "binary"));
    head.append(element("span", "message-size", size(length)));
    if (m.id) head.append(element("code", "message-id", m.id));
    row.append(head, content(m, length));
    if (m.id) {
      this.#arrived.set(m.id, { row, at: performance.now() });
      this.#lag(m.id);
    }
    this.#add(row);
  }

  event(words) {
    const row = element("li", "happened");
    row.append(time(new Date()), element("span", "", words));
    this.#add(row);
  }

  /** Records that this page pushed the message with that id, and when. */
  pushed(id, at) {
    this.#pushed.set(id, at);
    if (this.#pushed.size > mostRows) this.#pushed.delete(this.#pushed.keys().next().value);
    this.#lag(id);
  }

  /** Shows the time from push to arrival; either may be recorded first. */
  #lag(id) {
    const arrived = this.#arrived.get(id);
    const at = this.#pushed.get(id);
    if (!arrived || at === undefined) return;
    this.#pushed.delete(id);
    const tag = element("span", "tag lag", `after ${milliseconds(arrived.at - at)}`);
    tag.title = "from the push on this page to its arrival";
    arrived.row.querySelector(".message-size").before(tag);
  }

  /** Adds rows once a frame: a flood must not redraw the page for each. */
  #add(row) {
    this.#queue.push(row);
    if (this.#queue.length > mostRows) this.#queue.shift();
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#list.prepend(...this.#queue.reverse());
      this.#queue.length = 0;
      while (this.#list.childElementCount > mostRows) this.#list.lastElementChild.remove();
      while (this.#arrived.size > mostRows) this.#arrived.delete(this.#arrived.keys().next().value);
      this.#changed();
    });
  }
}

function content(m, length) {
  if (m.bytes) {
    const dump = hexDump(m.bytes.subarray(0, mostBytes), innerWidth < 600 ? 8 : 16);
    return element("pre", "data", length > mostBytes ? `${dump}\n… ${size(length - mostBytes)} more` : dump);
  }
  const text = m.text.length > mostText ? `${m.text.slice(0, mostText)}…` : m.text;
  const pre = element("pre", "data", text);
  if (length === 0) pre.classList.add("nothing");
  return pre;
}

function time(at) {
  const t = element("time", "", clock(at));
  t.dateTime = at.toISOString();
  return t;
}

export function element(name, className, text) {
  const e = document.createElement(name);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}
