// The measured recall of an index as a curve over its search parameter, and as a table.

import { draw, make, number, table } from "./dom.js";

const WIDTH = 380, HEIGHT = 230, LEFT = 42, RIGHT = 14, TOP = 16, BOTTOM = 42;

/** Return what was measured of an index: a sentence, the curve where there are several values, and its numbers. */
export function curve(index) {
  const { recall, k, probes, source, parameter, value, target, reached, curve: values } = index.recall;
  const chosen = parameter ? ` with ${parameter} = ${number(value)}` : "";
  const aim = parameter ? `; the target ${target} was ${reached ? "reached" : "not reached"}` : "";
  const sentence = probes ? `${recall.toFixed(3)} among the first ${k} hits${chosen}, by ${number(probes)} ${probes === 1 ? source.replace(/ies$/, "y").replace(/s$/, "") : source}${aim}.`
    : "Could not be measured: the index has one row.";
  const points = Object.entries(values ?? {}).map(([at, its]) => [Number(at), its]).sort((a, b) => a[0] - b[0]);
  const name = parameter ?? "value";
  return [
    make("h3", {}, index.name),
    make("p", {}, sentence),
    points.length > 1 ? make("figure", { class: "curve" }, picture(points, { name, value, target })) : null,
    points.length ? make("details", {}, make("summary", {}, "Numbers"), table(`Recall of ${index.name}`, [name, "recall"], points.map(([at, its]) => [at, its.toFixed(3)]), ["recall"])) : null,
  ];
}

function picture(points, { name, value, target }) {
  const first = Math.log2(points[0][0]), span = Math.log2(points.at(-1)[0]) - first || 1;
  const low = Math.min(0.9, Math.floor(Math.min(target, ...points.map(([, recall]) => recall)) * 10) / 10);
  const x = (at) => LEFT + ((Math.log2(at) - first) / span) * (WIDTH - LEFT - RIGHT);
  const y = (recall) => TOP + ((1 - recall) / (1 - low)) * (HEIGHT - TOP - BOTTOM);
  const line = (kind, x1, y1, x2, y2) => draw("line", { class: kind, x1, y1, x2, y2 });
  const words = (text, at, up, anchor) => draw("text", { x: at, y: up, "text-anchor": anchor }, text);
  const steps = [0, 0.5, 1].map((part) => low + part * (1 - low));
  // As many labels as do not touch.
  const every = Math.ceil(points.length / 7);
  const label = `Recall from ${number(points[0][1])} with ${name} ${points[0][0]} to ${number(points.at(-1)[1])} with ${points.at(-1)[0]}`;
  return draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    steps.map((step) => [line("axis", LEFT, y(step), WIDTH - RIGHT, y(step)), words(step.toFixed(2), LEFT - 8, y(step) + 4, "end")]),
    line("target", LEFT, y(target), WIDTH - RIGHT, y(target)),
    words(`target ${target}`, LEFT + 6, y(target) - 5, "start"),
    points.filter((_, row) => row % every === 0).map(([at]) => words(String(at), x(at), HEIGHT - 24, "middle")),
    words(name, LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 4, "middle"),
    draw("polyline", { class: "line", points: points.map(([at, recall]) => `${x(at)},${y(recall)}`).join(" ") }),
    points.map(([at, recall]) => draw("circle", { class: at === value ? "dot chosen" : "dot", cx: x(at), cy: y(recall), r: 4 })));
}
