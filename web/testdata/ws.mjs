// A client with the npm package ws. Its arguments are a URL, the options of
// permessage-deflate as JSON, and "listen" or "echo". It prints one JSON array a
// line: the extensions of the server's answer; then, with "listen", kind, length
// and SHA-256 of each message, or, with "echo", how many of its messages came back
// unchanged; and the close code.
import { createHash, randomBytes } from "node:crypto";
import WebSocket from "ws";

const [url, deflate, mode] = process.argv.slice(2);
const say = (...what) => console.log(JSON.stringify(what));
const text = (size) => Buffer.alloc(size, "grüße from the belfry 🦉, "); // may end within a character
const whole = (size) => Buffer.from(text(size).toString().replaceAll("\ufffd", "")); // does not

// split cuts data at the given positions.
const split = (data, ...at) => [0, ...at].map((from, i) => data.subarray(from, at[i] ?? data.length));

const message = (binary, parts, compress = true) => ({ binary, parts, compress });
const many = Array.from({ length: 99 }, (_, i) => 700 * (i + 1));
const messages = [
  ...[0, 1, 125, 126, 1023, 1024, 65535, 65536, 1 << 20].map((size) => message(false, [whole(size)])),
  ...[0, 1, 4096, 65536, 1 << 20].map((size) => message(true, [randomBytes(size)])), // does not compress
  message(true, [Buffer.alloc(4 << 20)]), // compresses to a thousandth
  message(false, [whole(4096)], false),
  message(false, split(whole(100000), 0, 1, 999, 70001)), // an empty fragment, and cuts within characters
  message(true, split(randomBytes(70000), ...many)),
  message(false, split(whole(70000), ...many)),
  ...Array(3).fill(message(false, [whole(2048)])), // the second would be shorter with context
];

const ws = new WebSocket(url, { perMessageDeflate: JSON.parse(deflate) });
ws.on("upgrade", (answer) => say("extensions", answer.headers["sec-websocket-extensions"] ?? ""));
ws.on("error", (err) => say("error", err.message));
ws.on("close", (code) => say("close", code));
if (mode === "listen") {
  ws.on("message", (data, binary) => say(binary ? "binary" : "text", data.length, createHash("sha256").update(data).digest("hex")));
} else {
  ws.on("open", () => {
    for (const m of messages) {
      m.parts.forEach((part, i) => {
        ws.send(part, { binary: m.binary, compress: m.compress, fin: i === m.parts.length - 1 });
        if (i === 1) ws.ping(); // between two fragments
      });
    }
  });
  let n = 0;
  ws.on("message", (data, binary) => {
    const want = Buffer.concat(messages[n].parts);
    if (binary !== messages[n].binary || !data.equals(want)) say("message", n, binary, data.length, want.length);
    if (++n < messages.length) return;
    say("echoed", n);
    ws.close(1000);
  });
}
