// The form that pushes through the API, with the same push as a shell command.
import { milliseconds, parseHex, shellWord } from "./format.js";

const labels = { topics: "Topic", users: "User id", sessions: "Session id" };

export class PushForm {
  #form = document.getElementById("push");
  #target = document.getElementById("target");
  #payload = document.getElementById("payload");
  #exclude = document.getElementById("exclude");
  #result = document.getElementById("result");
  #curl = document.getElementById("curl");
  #connection;
  #pushed;
  #typed = {}; // scope → what the person wrote as its target

  /** pushed(id, at) is called for each push that was accepted. */
  constructor(connection, pushed) {
    this.#connection = connection;
    this.#pushed = pushed;
    this.#form.addEventListener("input", (e) => {
      if (e.target === this.#target) this.#typed[this.#scope] = this.#target.value;
      this.refresh();
    });
    this.#form.addEventListener("submit", (e) => {
      e.preventDefault();
      this.#send();
    });
    this.#payload.addEventListener("keydown", (e) => {
      if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) this.#form.requestSubmit();
    });
    this.refresh();
  }

  get #scope() {
    return this.#form.elements.scope.value;
  }

  get #binary() {
    return this.#form.elements.kind.value === "binary";
  }

  get command() {
    return this.#curl.textContent;
  }

  /** Updates the form after input, or when the session has changed. */
  refresh() {
    const scope = this.#scope;
    document.getElementById("target-box").hidden = scope === "all";
    if (scope !== "all") {
      document.getElementById("target-label").textContent = labels[scope];
      this.#target.placeholder = labels[scope];
      const value = this.#typed[scope] || this.#suggestion(scope);
      if (this.#target.value !== value && document.activeElement !== this.#target) this.#target.value = value;
    }
    this.#payload.placeholder = this.#binary ? "de ad be ef" : "text, JSON, anything";
    this.#exclude.disabled = !this.#connection.session;
    const command = this.#shell();
    if (this.#curl.textContent !== command) this.#curl.textContent = command;
  }

  #suggestion(scope) {
    if (scope === "topics") return this.#connection.topics.keys().next().value ?? "news";
    return scope === "users" ? this.#connection.user : this.#connection.session;
  }

  #path() {
    const scope = this.#scope;
    // encodeURIComponent keeps dots, and browsers would resolve a path segment
    // of only dots.
    const path = scope === "all" ? "/v1/all" : `/v1/${scope}/${encodeURIComponent(this.#target.value)}`;
    const excluded = this.#exclude.checked && this.#connection.session;
    return excluded ? `${path}?exclude=${encodeURIComponent(excluded)}` : path;
  }

  #shell() {
    const url = shellWord(location.origin + this.#path());
    const text = this.#payload.value;
    if (!this.#binary) return `curl ${text.startsWith("@") ? "--data-raw" : "-d"} ${shellWord(text)} ${url}`;
    const bytes = parseHex(text) ?? [];
    // Every printf(1) knows octal escapes.
    const escaped = Array.from(bytes, (b) => `\\${b.toString(8).padStart(3, "0")}`).join("");
    return `printf '${escaped}' | curl --data-binary @- -H 'Content-Type: application/octet-stream' ${url}`;
  }

  async #send() {
    let body = this.#payload.value;
    let type = "text/plain; charset=utf-8";
    if (this.#binary) {
      body = parseHex(body);
      type = "application/octet-stream";
      if (!body) return this.#show(false, "That is not hex: pairs of 0-9 and a-f, like de ad be ef.");
    }
    if (this.#scope !== "all" && !this.#target.value) {
      this.#target.focus();
      return this.#show(false, `${labels[this.#scope]}: say which.`);
    }
    const at = performance.now();
    try {
      const response = await fetch(this.#path(), { method: "POST", headers: { "Content-Type": type }, body });
      const took = milliseconds(performance.now() - at);
      const answer = await response.json().catch(() => ({}));
      if (!response.ok) {
        const what = answer.detail || answer.title || response.statusText;
        return this.#show(false, `${response.status}: ${answer.field ? `${answer.field}: ` : ""}${what}`);
      }
      this.#pushed(answer.id, at);
      this.#show(true, `${response.status}, accepted in ${took} as `, answer.id);
    } catch (error) {
      this.#show(false, `The API cannot be reached: ${error.message}`);
    }
  }

  #show(good, words, id = "") {
    this.#result.dataset.good = good;
    this.#result.textContent = words;
    if (!id) return;
    const code = document.createElement("code");
    code.textContent = id;
    this.#result.append(code);
  }
}
