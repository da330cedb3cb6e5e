// Texts for close codes. docs/protocol.md is the registry; a test compares the
// two.
const codes = {
  1000: { back: false, words: "The connection was closed." },
  1001: { back: true, words: "The server is going away." },
  1002: { back: false, words: "The client violated the WebSocket protocol." },
  1007: { back: false, words: "The client sent text that is not UTF-8." },
  1008: { back: false, words: "The server does not accept what this client sends, or so much of it." },
  1009: { back: false, words: "A message was too big for the server." },
  1012: { back: true, words: "The server restarts." },
  4000: { back: true, words: "The server's ping was not answered in time." },
  4001: { back: true, words: "The server received nothing for too long." },
  4002: { back: true, words: "The server had nothing to send for too long." },
  4003: { back: true, words: "The connection was idle for too long." },
  4004: { back: true, words: "This client was too slow to read." },
  4005: { back: true, words: "Too much waits for the clients of this server." },
  4006: { back: false, words: "Too many sessions of this user; a newer one took the place of this one." },
  4007: { back: true, words: "The server holds too much unfinished input, and this client held most of it." },
  4008: { back: true, words: "A message was begun and not finished in time." },
  4009: { back: false, words: "The login was refused, or did not come in time." },
  4010: { back: true, words: "The credentials have expired." },
  4401: { back: false, words: "The credentials were not accepted." },
  4403: { back: false, words: "The credentials do not permit this." },
};

/**
 * What a close code means and whether to come back. 1006 stands for a
 * connection that ended without a word; opened tells whether it ever began.
 */
export function explain(code, opened) {
  if (code === 1006) {
    return opened
      ? { back: true, words: "The connection broke." }
      : { back: true, words: "No connection: the server does not run, or refused it (browsers do not tell why)." };
  }
  return codes[code] ?? { back: true, words: "The server closed the connection." };
}
