// Connects the parts of the page: shows the state of the connection and sends
// what the user enters.
import { Connection } from "./connection.js";
import { Feed, element } from "./feed.js";
import { duration, size } from "./format.js";
import { PushForm } from "./push.js";
import { Pulse } from "./pulse.js";
import { settings, socketURL } from "./settings.js";

const $ = (id) => document.getElementById(id);
const connection = new Connection(socketURL());
const feed = new Feed($("feed"), showCount);
const pulse = new Pulse(document.querySelector(".spark-frame"), $("rtt"));
const push = new PushForm(connection, (id, at) => feed.pushed(id, at));

$("node").textContent = settings.node || "–";
$("version").textContent = settings.version || "–";
$("dev").hidden = !settings.dev;
$("token-input").disabled = $("token-hint").hidden = !settings.tokens;
$("no-tokens").hidden = settings.tokens;

function setText(id, text) {
  const e = $(id);
  if (e.textContent !== text) e.textContent = text; // screen readers read a status region at every change
}

function show() {
  const c = connection;
  const up = c.state === "connected";
  $("state").dataset.state = c.state;
  setText("state-text", { connecting: "Connecting…", connected: "Connected", lost: "Connection lost" }[c.state]);
  setText("sid", c.session || (up ? "a plain client is not told" : "–"));
  $("sid").classList.toggle("id", Boolean(c.session));
  $("copy-sid").hidden = !c.session;
  setText("uid", c.user || (!up ? "–" : c.proven && !c.hello ? "a plain client is not told" : "nobody in particular"));
  setText("encoding", c.encoding);
  setText("heartbeat", heartbeat(c));
  if (!up) pulse.stop("–");
  else if (!c.hello) pulse.stop("not in plain");
  $("trouble").hidden = c.state !== "lost";
  showTopics();
  tick();
  push.refresh();
}

function heartbeat({ state, hello }) {
  if (state !== "connected") return "";
  if (!hello) return "WebSocket pings are hidden from pages, and plain has no others.";
  const server = hello.ping
    ? `The server pings after ${hello.ping}\u00a0s of silence${hello.pong ? ` and waits ${hello.pong}\u00a0s` : ""}.`
    : "The server sends no pings.";
  return `${server} This page pings every 2\u00a0s.`;
}

function showTopics() {
  const chips = [...connection.topics].map(([topic, state]) => {
    const chip = element("li", "chip");
    chip.dataset.state = state;
    chip.dataset.topic = topic;
    const remove = element("button", "chip-remove", "×");
    remove.type = "button";
    remove.setAttribute("aria-label", `Unsubscribe from ${topic}`);
    remove.addEventListener("click", () => {
      connection.unsubscribe(topic);
      $("topic-input").focus();
    });
    chip.append(element("span", "", topic), remove);
    return chip;
  });
  if (chips.length === 0) chips.push(element("li", "hint", "None; pushes to all still arrive."));
  $("topics").replaceChildren(...chips);
}

/** Updates texts that change with time. */
function tick() {
  const c = connection;
  $("uptime").textContent = c.state === "connected" ? duration((performance.now() - c.since) / 1000) : "–";
  if (c.state !== "lost") return;
  const wait = Math.max(0, Math.ceil((c.retryAt - performance.now()) / 1000));
  $("trouble-text").textContent = c.retryAt ? `${c.trouble} Trying again in ${wait} s.` : `${c.trouble} Not trying again by itself.`;
}

function showCount() {
  $("empty").hidden = feed.length > 0;
  $("count").textContent = feed.received ? `${feed.received.toLocaleString("en")} received, ${size(feed.bytes)}` : "";
}

function problem(id, words) {
  $(id).hidden = !words;
  $(id).textContent = words;
}

/** The rules of docs/protocol.md. They are checked here because scripts do not see why a handshake was refused. */
function topicProblem(topic) {
  if (!topic) return "A topic has at least one character.";
  if (!/^[A-Za-z0-9_\-.:/@]{1,128}$/.test(topic)) return "A topic is 1 to 128 of A-Z a-z 0-9 _ - . : / @";
  return topic.split(".").includes("") ? "A topic has no empty part between dots." : "";
}

function uidProblem(uid) {
  const length = new TextEncoder().encode(uid).length;
  if (length > 128) return `A user id has at most 128 bytes; this has ${length}.`;
  return /\p{Cc}/u.test(uid) ? "A user id has no control characters." : "";
}

/** A token goes into a header field, which has neither blanks nor separators (RFC 9110 §5.6.2). */
function tokenProblem(token) {
  return /^[\w!#$%&'*+\-.^`|~]*$/.test(token) ? "" : "A token is one word without blanks, quotes, =, / or commas. Was it copied whole?";
}

function copyButton(button, text) {
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text());
      button.dataset.done = "yes";
    } catch {
      button.dataset.done = "no"; // no permission, or not a secure context
    }
    setTimeout(() => delete button.dataset.done, 1200);
  });
}

let ringing = 0;
function ring() {
  $("bell").classList.add("ringing");
  clearTimeout(ringing);
  ringing = setTimeout(() => $("bell").classList.remove("ringing"), 900);
}

connection.addEventListener("change", show);
connection.addEventListener("rtt", (e) => pulse.add(e.detail));
connection.addEventListener("event", (e) => feed.event(e.detail));
connection.addEventListener("refused", (e) => problem("topic-problem", e.detail));
connection.addEventListener("message", (e) => {
  ring();
  feed.message(e.detail);
});

$("subscribe").addEventListener("submit", (e) => {
  e.preventDefault();
  const topic = $("topic-input").value.trim();
  const wrong = topicProblem(topic);
  problem("topic-problem", wrong);
  if (wrong) return;
  $("topic-input").value = "";
  connection.subscribe(topic);
});
$("topic-input").addEventListener("input", () => problem("topic-problem", ""));
$("connect").addEventListener("submit", (e) => {
  e.preventDefault();
  const uid = $("uid-input").value;
  const token = $("token-input").value.trim();
  const [wrongUid, wrongToken] = [token ? "" : uidProblem(uid), tokenProblem(token)];
  problem("uid-problem", wrongUid);
  problem("token-problem", wrongToken);
  if (!wrongUid && !wrongToken) connection.open(uid, e.target.elements.encoding.value, token);
});
$("retry").addEventListener("click", () => connection.retry());
$("clear").addEventListener("click", () => feed.clear());
copyButton($("copy-sid"), () => connection.session);
copyButton($("copy-curl"), () => push.command);
setInterval(tick, 500);

// ?uid=ann&topic=news&encoding=plain in the page's address sets the first user,
// topics and encoding.
const asked = new URLSearchParams(location.search);
const uid = asked.get("uid") ?? `guest-${Math.floor(Math.random() * 0x10000).toString(16).padStart(4, "0")}`;
for (const topic of asked.has("topic") ? asked.getAll("topic") : ["news"]) {
  if (!topicProblem(topic)) connection.topics.set(topic, "wanted");
}
const encoding = asked.get("encoding") === "plain" ? "plain" : "belfry.v1";
$("uid-input").value = uid;
$("connect").elements.encoding.value = encoding;
connection.open(uid, encoding, "");
