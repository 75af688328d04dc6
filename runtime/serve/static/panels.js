// What is about the whole pipeline: alarms, stages, flow, sinks, events.

import { fill } from "./card.js";
import { NONE, bytes, clock, count, duration, element, percent, say, span, words } from "./format.js";

const STAGES = ["wait", "views", "denoise", "inference", "vote"];
const SHOWN_EVENTS = 60;
const flow = new Map();
const shown = new Map();

/** Rebuilds a list only where what it shows has changed. */
function renew(node, key, value, build) {
  const text = JSON.stringify(value);
  if (shown.get(key) === text) return;
  shown.set(key, text);
  node.replaceChildren(...build());
}

export function showOverall(node, { cameras, ready }) {
  const live = cameras.filter((camera) => camera.state === "live").length;
  const alarms = cameras.filter((camera) => camera.alarm?.raised).length;
  const done = cameras.filter((camera) => camera.state === "ended").length;
  const all = done === cameras.length ? "all ended" : `${live} of ${cameras.length} live`;
  const what = cameras.length === 1 ? cameras[0].state : all;
  const told = alarms ? `${what}, ${alarms} alarm${alarms > 1 ? "s" : ""}` : what;
  say(node, ready || done === cameras.length ? told : `not ready, ${told}`);
  node.dataset.grave = alarms ? "bad" : live + done === cameras.length ? "good" : live ? "care" : "bad";
}

export function showGuard(node, { guard }) {
  const file = String(guard.path).split("/").pop();
  say(node, [file, guard.decision, guard.plan, guard.provider].join(" · "));
  const noisy = guard.noisy_views?.length ? `; if noisy ${guard.noisy_views.join(", ")}` : "";
  node.title = `${guard.path}: ${(guard.views ?? []).join(", ")}${noisy}`;
}

export function showAlarms(node, { cameras }) {
  const raised = cameras.filter((camera) => camera.alarm?.raised);
  const heads = raised.map(({ name, alarm }) => [name, alarm.text, alarm.since]);
  renew(node, "alarms", heads, () =>
    raised.map(({ name, alarm }) => {
      const banner = element("div", "banner alarm");
      const text = element("p");
      text.append(
        element("b", "", `Alarm: ${name}`),
        element("span", "", ` ${alarm.text || "stream looks manipulated"}`),
        element("small", "", clock(alarm.since) === NONE ? "" : ` since ${clock(alarm.since)}`),
      );
      const list = element("dl", "evidence");
      list.setAttribute("aria-live", "off");
      list.known = new Map();
      banner.append(text, list);
      return banner;
    }),
  );
  raised.forEach(({ alarm }, n) => {
    const list = node.children[n].querySelector(".evidence");
    fill(list, list.known, evidence(alarm));
  });
}

/** What the alarm goes by: each rate now and as it was learned, and how much tells them apart. */
function evidence({ statistics = {}, recent = {}, baseline = {}, ...alarm }) {
  const rows = {};
  for (const [name, value] of Object.entries(statistics)) {
    if (!baseline[name]) continue; // never learned, so it raises nothing
    rows[name] = `${percent(recent[name]?.rate)} now, ${percent(baseline[name]?.rate)} learned`;
    rows[`${name} evidence`] = `${value.toFixed(1)}, alarm from ${alarm.threshold?.toFixed(1)}`;
  }
  if (alarm.false_alarm_days) {
    rows["false alarms"] = `one in ${count(alarm.false_alarm_days)} days at most`;
  }
  return rows;
}

export function showStages(node, stages) {
  if (!node.children.length) {
    for (const name of STAGES) {
      const row = element("div", "stage");
      const bar = element("span", "bar");
      bar.append(element("i", "p99"), element("i", "p50"));
      row.append(element("span", "stage-name", name), bar, element("span", "stage-ms"));
      node.append(row);
    }
  }
  const most = Math.max(1e-6, ...STAGES.map((name) => stages[name]?.p99 ?? 0));
  STAGES.forEach((name, n) => {
    const row = node.children[n];
    const { p50 = null, p99 = null } = stages[name] ?? {};
    row.hidden = name === "denoise" && !p99; // most guards never do
    row.querySelector(".p50").style.width = `${(100 * (p50 ?? 0)) / most}%`;
    row.querySelector(".p99").style.width = `${(100 * (p99 ?? 0)) / most}%`;
    say(row.querySelector(".stage-ms"), `${duration(p50)} / ${duration(p99)}`);
  });
}

export function showFlow(node, { totals, process, uptime_s: uptime }) {
  fill(node, flow, {
    frames: count(totals.frames),
    verdicts: count(totals.verdicts),
    dropped: count(totals.dropped),
    running: span(uptime),
    memory: bytes(process?.rss_bytes),
    threads: count(process?.threads),
  });
}

export function showSinks(node, sinks) {
  renew(node, "sinks", sinks, () =>
    sinks.length
      ? sinks.map((sink) => {
          const item = element("li");
          const well = !["failing", "failed"].includes(sink.state);
          const state = element("span", "state");
          state.dataset.grave = well ? "good" : "bad";
          state.append(element("i", "", well ? "●" : "!"), element("b", "", words(sink.state)));
          const told = [`${count(sink.delivered)} delivered`];
          if (sink.queued) told.push(`${count(sink.queued)} waiting`);
          if (sink.dropped) told.push(`${count(sink.dropped)} dropped`);
          item.append(element("b", "sink-name", sink.name), state, element("small", "", told.join(", ")));
          if (!well && sink.last_error) item.append(element("small", "error", sink.last_error));
          return item;
        })
      : [element("li", "quiet", "none")],
  );
}

export function showEvents(node, events) {
  const newest = events.slice(-SHOWN_EVENTS).reverse();
  renew(node, "events", newest, () =>
    newest.length
      ? newest.map((event) => {
          const item = element("li");
          item.dataset.kind = event.type;
          item.append(element("time", "", clock(event.time)), element("b", "", event.type));
          if (event.camera !== null) item.append(element("span", "whom", event.camera));
          item.append(element("span", "", event.text));
          return item;
        })
      : [element("li", "quiet", "none yet")],
  );
}
