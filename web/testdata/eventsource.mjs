// Prints what the npm package eventsource makes of the stream at the URL that
// is its argument: one JSON array a line.
import { EventSource } from "eventsource";

const say = (...what) => console.log(JSON.stringify(what));
const source = new EventSource(process.argv[2]);
source.onopen = () => say("open");
source.onerror = () => say("error", source.readyState);
for (const type of ["message", "news", "news;base64"]) {
  source.addEventListener(type, (e) => say(e.type, e.data, e.lastEventId));
}
