// Texts for people and for shells.

/** 14:03:59.123 */
export function clock(date) {
  const two = (n) => String(n).padStart(2, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}

/** 3 s, 4 min 10 s, 2 h 5 min */
export function duration(seconds) {
  const s = Math.floor(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
}

export function milliseconds(ms) {
  return `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

export function size(bytes) {
  if (bytes === 1) return "1 byte";
  if (bytes < 10_000) return `${bytes.toLocaleString("en")} bytes`;
  return `${(bytes / 1024).toLocaleString("en", { maximumFractionDigits: 1 })} KiB`;
}

/** Lines of so many bytes in hex with their ASCII, like hexdump -C. */
export function hexDump(bytes, perLine) {
  const lines = [];
  for (let at = 0; at < bytes.length; at += perLine) {
    const part = [...bytes.subarray(at, at + perLine)];
    const hex = part.map((b) => b.toString(16).padStart(2, "0")).join(" ");
    const ascii = part.map((b) => (b >= 0x20 && b < 0x7f ? String.fromCharCode(b) : "·")).join("");
    lines.push(`${bytes.length > perLine ? hex.padEnd(3 * perLine - 1) : hex}  ${ascii}`);
  }
  return lines.join("\n");
}

/** Reads hex digits with any spacing; null if the text is not hex. */
export function parseHex(text) {
  const digits = text.replace(/[\s:,]|0x/g, "");
  if (digits.length % 2 !== 0 || !/^[0-9a-fA-F]*$/.test(digits)) return null;
  return Uint8Array.from(digits.match(/../g) ?? [], (d) => parseInt(d, 16));
}

export function fromBase64(text) {
  return Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
}

/** One word for a POSIX shell. */
export function shellWord(text) {
  return /^[A-Za-z0-9_\-./:=@%+]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
