// The live page: shows what the stream of snapshots says.

import { Card } from "./card.js";
import { clock } from "./format.js";
import { Link } from "./link.js";
import { showAlarms, showEvents, showFlow, showGuard, showOverall, showSinks, showStages } from "./panels.js";
import { Pictures } from "./pictures.js";

const at = (id) => document.getElementById(id);
const cards = new Map();
const pictures = new Pictures();
const MOST_WITH_DETAILS = 4; // cameras; with more of them a glance matters more than charts
let newest = null;
let detailsChosen = false;

function showDetails() {
  at("cameras").classList.toggle("compact", !at("details").checked);
}

at("details").addEventListener("change", () => {
  detailsChosen = true;
  showDetails();
});

function showCameras(cameras) {
  const names = new Set(cameras.map((camera) => camera.name));
  for (const [name, card] of cards) {
    if (!names.has(name)) {
      pictures.remove(card);
      card.node.remove();
      cards.delete(name);
    }
  }
  for (const camera of cameras) {
    if (!cards.has(camera.name)) {
      const card = new Card(camera.name);
      cards.set(camera.name, card);
      at("cameras").append(card.node);
      pictures.add(card);
    }
    cards.get(camera.name).show(camera);
  }
  at("cameras").dataset.count = String(Math.min(cameras.length, 9));
  if (!detailsChosen) at("details").checked = cameras.length <= MOST_WITH_DETAILS;
  showDetails();
}

function refreshCharts() {
  const span = document.querySelector("input[name=span]:checked").value;
  for (const card of cards.values()) if (pictures.wants(card)) card.refresh(span);
}

new Link({
  onSnapshot(snapshot) {
    newest = snapshot;
    document.title = `${snapshot.cameras.some((c) => c.alarm?.raised) ? "⚠ " : ""}blurvote`;
    showOverall(at("overall"), snapshot);
    showGuard(at("guard"), snapshot);
    showAlarms(at("alarms"), snapshot);
    showCameras(snapshot.cameras);
    showStages(at("stages"), snapshot.stage_ms);
    showFlow(at("flow"), snapshot);
    showSinks(at("sinks"), snapshot.sinks);
    refreshCharts();
  },
  onEvents: (events) => showEvents(at("events"), events),
  onLost(why) {
    const data = newest ? `, showing data of ${clock(newest.time)}` : "";
    const text = `Connection lost${data}${why ? `: ${why}` : ""}`;
    if (at("lost").textContent !== text) at("lost").textContent = text;
    at("lost").hidden = false;
    pictures.paused = true;
    document.body.classList.add("stale");
  },
  onFound() {
    at("lost").hidden = true;
    pictures.paused = false;
    document.body.classList.remove("stale");
  },
});

for (const input of document.querySelectorAll("input[name=span]")) {
  input.addEventListener("change", refreshCharts);
}
