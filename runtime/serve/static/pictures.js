// Fetches the pictures of the cards in sight, a few at a time, none while the tab is hidden.

const AT_ONCE = 3; // browsers open six connections to one host; the stream and the charts need some
const PER_SECOND = 30; // of all cameras together
const NONE_YET_MS = 1000; // until a camera without a picture is asked again
const MOST_PER_SECOND = 10; // of one camera

export class Pictures {
  constructor() {
    this.cards = new Set();
    this.inSight = new WeakSet();
    this.running = 0;
    this.paused = false; // while nobody answers
    this.sight = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          if (isIntersecting) this.inSight.add(target);
          else this.inSight.delete(target);
        }
      },
      { rootMargin: "120px" },
    );
    setInterval(() => this.turn(), 30);
  }

  add(card) {
    this.cards.add(card);
    card.askedAt = -Infinity;
    this.sight.observe(card.node);
  }

  remove(card) {
    this.cards.delete(card);
    this.sight.unobserve(card.node);
  }

  /** Whether pictures of this card are wanted now. */
  wants(card) {
    return !this.paused && !document.hidden && this.inSight.has(card.node);
  }

  turn() {
    const wanted = [...this.cards].filter((card) => this.wants(card));
    const period = 1000 / Math.min(MOST_PER_SECOND, PER_SECOND / Math.max(1, wanted.length));
    const now = performance.now();
    wanted.sort((one, other) => one.askedAt - other.askedAt);
    for (const card of wanted) {
      if (this.running >= AT_ONCE) return;
      if (!card.asking && now - card.askedAt >= period) this.ask(card, now);
    }
  }

  async ask(card, now) {
    card.asking = true;
    card.askedAt = now;
    this.running += 1;
    try {
      await fetchPicture(card);
    } catch {
      card.askedAt = performance.now() + 1000; // nobody answers; the banner says so
    } finally {
      card.asking = false;
      this.running -= 1;
    }
  }
}

async function fetchPicture(card) {
  const wide = card.scene.clientWidth * Math.min(2, window.devicePixelRatio || 1);
  const query = new URLSearchParams({ camera: card.name, width: String(Math.round(wide * 0.75)) });
  const headers = card.tag ? { "If-None-Match": card.tag } : {};
  const answer = await fetch(`/camera/sheet?${query}`, {
    headers,
    cache: "no-store",
    signal: AbortSignal.timeout(8000),
  });
  if (answer.status !== 200) {
    await answer.arrayBuffer();
    if (answer.status !== 304) card.askedAt += NONE_YET_MS;
    return;
  }
  const about = JSON.parse(answer.headers.get("x-blurvote"));
  const bitmap = await createImageBitmap(await answer.blob());
  card.tag = answer.headers.get("etag");
  card.showPicture(bitmap, about);
  bitmap.close();
}

/** Draws one box (x, y, width, height) of a bitmap onto a canvas. */
export function drawPart(canvas, bitmap, [x, y, width, height]) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  canvas.getContext("2d").drawImage(bitmap, x, y, width, height, 0, 0, width, height);
}
