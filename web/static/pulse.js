// Round-trip times as bars with a scale.
import { milliseconds } from "./format.js";

const most = 60; // bars
const width = 300;
const height = 48;
const floor = 2; // least ms of the full height, so that noise looks like noise

export class Pulse {
  #beats = []; // { ms, at }
  #frame;
  #output;

  constructor(frame, output) {
    this.#frame = frame;
    this.#output = output;
  }

  add(ms) {
    this.#beats.push({ ms, at: performance.now() });
    if (this.#beats.length > most) this.#beats.shift();
    this.#output.textContent = milliseconds(ms);
    this.#draw();
  }

  /** Shows a text instead of the latest time; the bars stay. */
  stop(words) {
    this.#output.textContent = words;
  }

  #draw() {
    const top = roundUp(Math.max(floor, ...this.#beats.map((b) => b.ms)));
    const step = width / most;
    const first = most - this.#beats.length;
    const bars = this.#beats.map(({ ms }, i) => {
      const x = ((first + i + 0.5) * step).toFixed(1);
      const tall = Math.max(3, (ms / top) * height);
      return `M${x} ${height}V${(height - tall).toFixed(1)}`;
    });
    const part = (selector) => this.#frame.querySelector(selector);
    part(".spark-past").setAttribute("d", bars.slice(0, -1).join(""));
    part(".spark-latest").setAttribute("d", bars.at(-1) ?? "");
    part("#spark-top").textContent = `${top} ms`;
    part("#spark-first").textContent = span(this.#beats);
  }
}

/** The least of 1, 2, 5, 10, 20, … that is not below ms. */
function roundUp(ms) {
  const ten = 10 ** Math.floor(Math.log10(ms));
  return [1, 2, 5, 10].map((n) => n * ten).find((n) => n >= ms);
}

/** How far back the left end is, if the row were full of bars. */
function span(beats) {
  if (beats.length < 2) return "";
  const each = (beats.at(-1).at - beats[0].at) / (beats.length - 1);
  const seconds = Math.round((each * (most - 1)) / 1000);
  return seconds < 90 ? `${seconds} s ago` : `${Math.round(seconds / 60)} min ago`;
}
