// The admin API, as the page uses it: one call, one stream, one session.
//
// An operation is /v1/<name>. A read is a GET whose query bears the fields of its
// request; what changes something is a POST with a body of JSON. An error is
// {"error": {kind, subject, message, hint}}.

// Failure is an answer that is an error, or none: kind is "unreachable" then, and "session" when the login has ended.
export class Failure extends Error {
  constructor(kind, message, hint) {
    super(message);
    this.kind = kind;
    this.hint = hint || "";
  }
}

const patience = 10_000; // milliseconds until a call that is not answered counts as unreachable

// call carries out an operation that reads: call("traces", {limit: 20}).
export function call(name, input = {}) {
  return ask("/v1/" + name + query(input), { method: "GET" });
}

// change carries out an operation that writes: change("restart", {service: "orders"}).
export function change(name, input = {}) {
  return ask("/v1/" + name, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(input) }, 120_000);
}

// login opens a session with the token of a login link.
export function login(token) {
  return ask("/session", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ token }) });
}

function query(input) {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(input)) if (v !== undefined && v !== "" && v !== false && v !== null) q.set(k, String(v));
  const s = q.toString();
  return s ? "?" + s : "";
}

async function ask(path, init, limit = patience) {
  let res, text;
  try {
    res = await fetch(path, { ...init, cache: "no-store", credentials: "same-origin", signal: AbortSignal.timeout(limit) });
    text = await res.text();
  } catch {
    throw new Failure("unreachable", "Stoa does not answer");
  }
  if (!res.ok) throw failure(res.status, text);
  if (!text) return null;
  if (!(res.headers.get("Content-Type") || "").startsWith("application/x-ndjson")) return JSON.parse(text);
  const last = text.trim().split("\n").pop(); // a stream that has ended at once: its last line counts
  const value = JSON.parse(last);
  if (value.error?.kind) throw failure(0, last);
  return value;
}

function failure(status, text) {
  if (status === 401) return new Failure("session", "The session has ended");
  try {
    const { kind, subject, message, hint } = JSON.parse(text).error;
    return new Failure(kind, [subject, message || kind].filter(Boolean).join(": "), hint);
  } catch {
    return new Failure("internal", `the answer was HTTP ${status}`);
  }
}

// follow reads a stream of JSON lines: each(value) for every line. It ends when the stream
// ends or signal aborts, and throws a Failure when the stream breaks or bears an error.
export async function follow(name, input, signal, each) {
  let res;
  try {
    res = await fetch("/v1/" + name + query(input), { cache: "no-store", credentials: "same-origin", headers: { Accept: "application/x-ndjson" }, signal });
  } catch {
    if (signal.aborted) return;
    throw new Failure("unreachable", "Stoa does not answer");
  }
  if (!res.ok) throw failure(res.status, await res.text());
  const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split("\n");
      rest = lines.pop();
      for (const line of lines) {
        if (!line.trim()) continue;
        const v = JSON.parse(line);
        if (v.error?.kind) throw failure(0, line);
        each(v);
      }
    }
  } catch (err) {
    if (signal.aborted) return;
    if (err instanceof Failure) throw err;
    throw new Failure("unreachable", "the stream broke");
  } finally {
    reader.cancel().catch(() => {});
  }
}
