// One camera: its picture, the verdict, the votes of the views, its rates and counts.

import { RateChart } from "./chart.js";
import { NONE, STATES, breakable, clock, count, duration, element, percent, rate, say, words } from "./format.js";
import { drawPart } from "./pictures.js";

const HISTORY_MS = { seconds: 5000, minutes: 60_000 };

export class Card {
  constructor(name) {
    this.name = name;
    this.node = document.getElementById("card").content.firstElementChild.cloneNode(true);
    this.find = (what) => this.node.querySelector(what);
    this.scene = this.find(".scene");
    this.picture = this.find(".picture");
    this.pictureAt = -Infinity;
    this.recent = {};
    this.historyAt = -Infinity;
    this.facts = new Map();
    this.find(".name").textContent = name;
    this.node.setAttribute("aria-label", `camera ${name}`);
    this.chart = new RateChart(this.find(".chart"), (...point) => this.legend(...point));
  }

  /** What a snapshot says about the camera. */
  show(camera) {
    const [sign, grave] = STATES[camera.state] ?? ["?", "care"];
    const state = this.find(".state");
    state.dataset.grave = grave;
    say(state.querySelector("i"), sign);
    say(state.querySelector("b"), camera.state);
    state.title = camera.why || "";
    this.find(".name").title = camera.uri;
    const away = grave !== "good";
    this.node.classList.toggle("away", away);
    this.node.classList.toggle("alarmed", Boolean(camera.alarm?.raised));
    const veil = this.find(".veil");
    veil.hidden = !away;
    if (away) {
      say(veil, `${camera.state} since ${clock(camera.since)}${camera.why ? `: ${camera.why}` : ""}`);
    }
    this.recent = camera;
    if (!this.pointed) this.legend(null);
    if (performance.now() - this.pictureAt > 2000) this.showVerdict(camera.verdict, {});
    this.showFacts(camera);
  }

  /** A sheet: the frame, the views below it, and the verdict on that very frame. */
  showPicture(bitmap, about) {
    this.pictureAt = performance.now();
    drawPart(this.picture, bitmap, about.picture);
    this.showVerdict(about.verdict, about.labels);
    this.showVotes(bitmap, about);
  }

  showVerdict(verdict, labels) {
    const line = this.find(".verdict");
    const kind = !verdict ? "none" : verdict.accepted ? "accepted" : "rejected";
    line.dataset.kind = kind;
    say(line.querySelector("i"), { none: "", accepted: "✓", rejected: "✕" }[kind]);
    let what = "no verdict yet";
    let sure = "";
    if (kind === "accepted") {
      what = verdict.name ?? labels[verdict.label] ?? `class ${verdict.label}`;
      sure = verdict.confidence === null ? "" : `${Math.round(verdict.confidence * 100)} %`;
    } else if (kind === "rejected") {
      what = "REJECTED";
      sure = words(verdict.reason);
    }
    say(line.querySelector(".what"), breakable(what));
    say(line.querySelector(".sure"), sure);
    const smoothed = verdict?.smoothed;
    if (smoothed !== null && smoothed !== undefined) {
      this.smoothed = smoothed < 0 ? "none" : (labels[smoothed] ?? this.smoothed ?? `class ${smoothed}`);
    }
    this.picture.setAttribute("aria-label", `picture of ${this.name}: ${what} ${sure}`);
  }

  showVotes(bitmap, { verdict, labels, views, view_names: names }) {
    const list = this.find(".votes");
    while (list.children.length < names.length) list.append(vote());
    while (list.children.length > names.length) list.lastChild.remove();
    names.forEach((name, n) => {
      const item = list.children[n];
      const label = verdict.view_labels[n];
      const agrees = label !== null && label >= 0 && label === verdict.label;
      const kind = label === null || label === undefined ? "idle" : agrees ? "agrees" : "differs";
      item.dataset.kind = kind;
      say(item.querySelector(".view"), name);
      const spoken = kind === "idle" ? "not run" : label < 0 ? "no vote" : labels[label];
      say(item.querySelector("i"), { idle: "○", agrees: "✓", differs: "≠" }[kind]);
      say(item.querySelector(".said"), breakable(spoken));
      item.querySelector(".said").title = spoken;
      const canvas = item.querySelector("canvas");
      canvas.setAttribute("aria-label", `${name} view`);
      if (views[n]) drawPart(canvas, bitmap, views[n]);
    });
  }

  showFacts(camera) {
    const age = camera.age_ms;
    const size = camera.size ? `${camera.size[0]}×${camera.size[1]}` : NONE;
    const rows = {
      "frames in": rate(camera.fps_in),
      "verdicts out": rate(camera.fps_out),
      "age p50": age ? duration(age.p50) : NONE,
      "age p99": age ? duration(age.p99) : NONE,
      dropped: count(camera.dropped),
      verdicts: count(camera.verdicts),
      size,
    };
    if (camera.reconnects) rows.reconnects = count(camera.reconnects);
    if (camera.errors) rows.errors = count(camera.errors);
    if (camera.alarm) rows.alarm = camera.alarm.raised ? "RAISED" : alarmPhase(camera.alarm);
    const noise = camera.verdict?.noise;
    if (noise !== null && noise !== undefined) {
      rows.noise = `${(noise * 255).toFixed(1)} of 255${camera.verdict.denoised ? ", denoised" : ""}`;
    }
    if (this.smoothed) rows.smoothed = this.smoothed;
    fill(this.find(".facts"), this.facts, rows);
  }

  legend(time, rejected, disagreed) {
    this.pointed = time !== null;
    const shown = this.pointed
      ? [rejected, disagreed].map((value) => percent(value === null ? null : value / 100))
      : [percent(this.recent.reject_rate), percent(this.recent.disagreement_rate)];
    say(this.find(".reject-rate"), shown[0]);
    say(this.find(".differ-rate"), shown[1]);
    say(this.find(".when"), this.pointed ? `at ${clock(time)}` : "last minute");
  }

  /** Fetches the history where it is due; `span` is `seconds` or `minutes`. */
  async refresh(span) {
    const now = performance.now();
    if (span === this.span && now - this.historyAt < HISTORY_MS[span]) return;
    this.span = span;
    this.historyAt = now;
    try {
      const query = new URLSearchParams({ camera: this.name, span });
      const answer = await fetch(`/api/history?${query}`, { cache: "no-store" });
      if (answer.ok) this.chart.show(await answer.json(), span);
    } catch {
      this.historyAt = now - HISTORY_MS[span] + 2000;
    }
  }
}

/** Names and values into a definition list, whose nodes stay. */
export function fill(list, known, rows) {
  for (const [name, [node]] of known) {
    if (!(name in rows)) {
      node.remove();
      known.delete(name);
    }
  }
  for (const [name, value] of Object.entries(rows)) {
    if (!known.has(name)) {
      const row = element("div");
      const cell = element("dd");
      row.append(element("dt", "", name), cell);
      list.append(row);
      known.set(name, [row, cell]);
    }
    say(known.get(name)[1], value);
  }
}

function alarmPhase({ phase, learned }) {
  const share = phase === "learning" && Number.isFinite(learned) ? ` ${percent(learned)}` : "";
  return words(phase) + share;
}

function vote() {
  const item = element("li");
  const canvas = element("canvas");
  canvas.setAttribute("role", "img");
  canvas.width = canvas.height = 8;
  const answer = element("p");
  const sign = element("i");
  sign.setAttribute("aria-hidden", "true");
  answer.append(sign, element("span", "said"));
  item.append(canvas, element("p", "view"), answer);
  return item;
}
