// The connection to blurvote: snapshots as they come, and the news that none come.

const STALE_MS = 3500;
const AGAIN_MS = 1500;

/** Calls back with snapshots and events; tells when the connection is lost and found again. */
export class Link {
  constructor({ onSnapshot, onEvents, onLost, onFound }) {
    this.calls = { onSnapshot, onEvents, onLost, onFound };
    this.heardAt = performance.now();
    this.lost = false;
    this.why = "";
    this.open();
    setInterval(() => this.check(), 500);
  }

  open() {
    this.source = new EventSource("/api/stream");
    this.source.addEventListener("snapshot", (event) => {
      this.heardAt = performance.now();
      if (this.lost) {
        this.lost = false;
        this.why = "";
        this.calls.onFound();
      }
      this.calls.onSnapshot(JSON.parse(event.data));
    });
    this.source.addEventListener("events", (event) => this.calls.onEvents(JSON.parse(event.data)));
    this.source.addEventListener("error", () => this.failed());
  }

  /** The browser tries again by itself unless it got an answer that is no stream. */
  async failed() {
    if (this.source.readyState !== EventSource.CLOSED) return;
    this.source.close();
    this.why = await refusal();
    setTimeout(() => this.open(), AGAIN_MS);
  }

  check() {
    if (performance.now() - this.heardAt > STALE_MS) {
      this.lost = true;
      this.calls.onLost(this.why);
    }
  }
}

/** Why the stream is refused, in words; empty where nobody answers. */
async function refusal() {
  const closing = new AbortController();
  try {
    const answer = await fetch("/api/stream", { cache: "no-store", signal: closing.signal });
    if (answer.status === 401) return "the token is needed again; reload the page";
    return answer.ok ? "" : (await answer.text()).trim();
  } catch {
    return "";
  } finally {
    closing.abort();
  }
}
