// Round-trip times as a row of beats.
import { milliseconds } from "./format.js";

const most = 60; // beats
const width = 300;
const height = 48;
const floor = 2; // ms at full height at least, so that noise looks like noise

export class Pulse {
  #times = [];
  #svg;
  #output;

  constructor(svg, output) {
    this.#svg = svg;
    this.#output = output;
  }

  add(ms) {
    this.#times.push(ms);
    if (this.#times.length > most) this.#times.shift();
    this.#output.textContent = milliseconds(ms);
    this.#draw();
  }

  /** Shows words in the place of the latest time; the beats so far stay. */
  stop(words) {
    this.#output.textContent = words;
  }

  #draw() {
    const top = Math.max(floor, ...this.#times) * 1.1;
    const step = width / most;
    const first = most - this.#times.length;
    const beats = this.#times.map((ms, i) => {
      const x = ((first + i + 0.5) * step).toFixed(1);
      const tall = Math.max(3, (ms / top) * height);
      return `M${x} ${height}V${(height - tall).toFixed(1)}`;
    });
    this.#svg.querySelector(".spark-past").setAttribute("d", beats.slice(0, -1).join(""));
    this.#svg.querySelector(".spark-latest").setAttribute("d", beats.at(-1) ?? "");
  }
}
