/** Curves, by uPlot: zoom by dragging, double click shows all. */

import uPlot from "../vendor/uplot.js";
import { PALETTE } from "./colour.js";
import { short } from "./numbers.js";

/** Draw curves: title, axis names, series [{label, x, y}]; returns {node, destroy}. */
export function curves(host, { title, across, up, series, height = 240, logarithmic = false }) {
  const xs = [...new Set(series.flatMap((one) => [...one.x]))].sort((a, b) => a - b);
  const place = new Map(xs.map((x, i) => [x, i]));
  const lined = series.map((one) => {
    const ys = new Array(xs.length).fill(null);
    one.x.forEach((x, i) => (ys[place.get(x)] = Number.isFinite(one.y[i]) ? one.y[i] : null));
    return ys;
  });
  const axis = { stroke: "#333333", grid: { stroke: "#eeeeee", width: 1 }, ticks: { stroke: "#aaaaaa", size: 5 }, font: "11.5px sans-serif", labelFont: "13px sans-serif" };
  const plot = new uPlot(
    {
      title,
      width: Math.max(host.clientWidth, 200),
      height,
      scales: { x: { time: false }, y: { distr: logarithmic ? 3 : 1 } },
      axes: [
        { ...axis, label: across, size: 34, labelSize: 22, values: (_, found) => found.map(short) },
        { ...axis, ...(up ? { label: up, labelSize: 20 } : {}), size: 64, values: (_, found) => found.map((one) => (one === null ? "" : short(one))) },
      ],
      series: [
        { label: across, value: (_, one) => short(one) },
        ...series.map((one, i) => ({
          label: one.label,
          stroke: PALETTE[i % PALETTE.length],
          dash: i >= 4 ? [6, 4] : undefined,
          width: 1.8,
          spanGaps: true,
          points: { show: xs.length < 40, size: 5 },
          value: (_, y) => short(y),
        })),
      ],
    },
    [xs, ...lined],
    host,
  );
  host.classList.toggle("alone", series.length === 1);
  const observer = new ResizeObserver(() => host.clientWidth && plot.setSize({ width: host.clientWidth, height }));
  observer.observe(host);
  return {
    plot,
    destroy: () => {
      observer.disconnect();
      plot.destroy();
    },
  };
}
