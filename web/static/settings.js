// The server's facts about itself, from <meta name="belfry">.
const meta = document.querySelector('meta[name="belfry"]');

/** host ("" for the page's own), port, tls (whether the port speaks it), path, version, node, dev, tokens (whether the node looks at them) */
export const settings = JSON.parse(meta.content);

/** The WebSocket's address, without a query. */
export function socketURL() {
  const scheme = settings.tls || location.protocol === "https:" ? "wss" : "ws";
  let host = settings.host || location.hostname;
  if (host.includes(":") && !host.startsWith("[")) host = `[${host}]`;
  return `${scheme}://${host}:${settings.port}${settings.path}`;
}
