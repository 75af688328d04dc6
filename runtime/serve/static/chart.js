// Rates of rejection and disagreement over time.

import { clock } from "./format.js";

const STEPS = { seconds: 5, minutes: 5 }; // steps of the history that make one point
const LEAST = { seconds: 60, minutes: 1800 }; // seconds that the time axis shows at least

/** Sums a history's steps into points: times, and both rates in percent (null without verdicts). */
export function points(history, per) {
  const { start, step_s: step, verdicts, rejected, compared, disagreed } = history;
  const data = [[], [], []];
  const offset = Math.floor(start / step) % per; // points stay where they are as time goes on
  for (let from = -offset; from < verdicts.length; from += per) {
    const sums = [0, 0, 0, 0];
    for (let n = Math.max(0, from); n < Math.min(from + per, verdicts.length); n += 1) {
      [verdicts, rejected, compared, disagreed].forEach((column, k) => (sums[k] += column[n]));
    }
    data[0].push(start + (from + per / 2) * step);
    data[1].push(sums[0] ? (100 * sums[1]) / sums[0] : null);
    data[2].push(sums[2] ? (100 * sums[3]) / sums[2] : null);
  }
  return data;
}

export class RateChart {
  /** `onPoint(time, rejected, disagreed)` tells what the pointer is at, `onPoint(null)` that it left. */
  constructor(host, onPoint) {
    this.host = host;
    this.onPoint = onPoint;
    this.data = [[], [], []];
    this.span = "seconds";
    this.plot = null;
    new ResizeObserver(() => this.fit()).observe(host);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.rebuild());
  }

  show(history, span) {
    this.span = span;
    this.data = points(history, STEPS[span]);
    if (this.plot) this.plot.setData(this.data);
    else this.rebuild();
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.host;
    if (!width) return;
    if (this.plot) this.plot.setSize({ width, height });
    else this.rebuild();
  }

  rebuild() {
    if (!this.host.clientWidth) return;
    this.plot?.destroy();
    this.plot = new window.uPlot(this.options(), this.data, this.host);
  }

  options() {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--soft"),
      font: "11px system-ui, sans-serif",
      ticks: { show: false },
      grid: { stroke: colour("--line"), width: 1 },
    };
    return {
      width: this.host.clientWidth,
      height: this.host.clientHeight,
      padding: [6, 20, 0, 0],
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      hooks: { setCursor: [(plot) => this.tell(plot.cursor.idx)] },
      scales: {
        x: { range: (_, low, high) => [Math.min(low, high - LEAST[this.span]), high] },
        y: { range: (_, __, high) => [0, Math.min(100, Math.max(10, Math.ceil((high ?? 0) / 10) * 10))] },
      },
      axes: [
        { ...axis, size: 24, space: 64, values: times, grid: { show: false } },
        { ...axis, size: 40, space: 26, incrs: [5, 10, 25, 50], values: (_, splits) => splits.map((value) => `${value} %`) },
      ],
      series: [
        {},
        line(colour("--reject"), []),
        line(colour("--differ"), [5, 3]),
      ],
    };
  }

  tell(index) {
    if (index === null || index === undefined || !this.data[0].length) this.onPoint(null);
    else this.onPoint(...this.data.map((column) => column[index]));
  }
}

function line(stroke, dash) {
  return { stroke, dash, width: 1.75, points: { show: false }, spanGaps: false };
}

/** Labels of the time axis, with seconds where they are less than a minute apart. */
function times(_, splits, axis, space, step) {
  return splits.map((seconds) => {
    const [hours, minutes, rest] = clock(seconds).split(" ").at(-1).split(":");
    return `${Number(hours)}:${minutes}${step < 60 ? `:${rest}` : ""}`;
  });
}
