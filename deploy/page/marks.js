// The text of a hit with its evidence in it: the nearest sentence or the answer underlined, the question's words marked.

import { make, shown } from "./dom.js";

const LONG = 480, BEFORE = 120;

/** Return where sentences are in a text, as [start, end) in UTF-16 units; line ends count as blanks. */
function places(text, sentences) {
  return sentences.filter(Boolean).flatMap((sentence) => {
    const pattern = sentence.trim().split(/\s+/).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("\\s+");
    const found = pattern ? new RegExp(pattern, "iu").exec(text) : null;
    return found ? [[found.index, found.index + found[0].length]] : [];
  });
}

/** Return spans of code points as spans of UTF-16 units. */
function units(text, spans) {
  if (!spans.length) return [];
  const wanted = new Map(spans.flat().map((point) => [point, 0]));
  let point = 0, unit = 0;
  for (const letter of text) {
    if (wanted.has(point)) wanted.set(point, unit);
    point += 1;
    unit += letter.length;
  }
  if (wanted.has(point)) wanted.set(point, unit);
  return spans.map(([start, end]) => [wanted.get(start), wanted.get(end)]);
}

/** Return a paragraph of a text: its spans marked, its sentences underlined; a long one is cut around the evidence. */
export function marked(text, spans, sentences) {
  const words = units(text, spans), lines = places(text, sentences);
  const paragraph = make("p", { class: "text", dir: "auto" });
  const whole = () => paragraph.replaceChildren(...parts(text, words, lines, 0, text.length));
  if (text.length <= LONG) {
    whole();
    return [paragraph];
  }
  const first = lines[0]?.[0] ?? words[0]?.[0] ?? 0;
  const [begin, last] = around(text, first);
  const end = begin + text.slice(begin, last).trimEnd().length;
  const part = () => paragraph.replaceChildren(
    begin ? "… " : "", ...parts(text, words, lines, begin, end), end < text.length ? " …" : "");
  part();
  const button = make("button", { type: "button", class: "link", "aria-expanded": "false", click: () => {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    button.textContent = open ? "Show the whole text" : "Show less";
    (open ? part : whole)();
  } }, "Show the whole text");
  return [paragraph, make("p", {}, button)];
}

/** Return a window of a text, cut between words, that begins a little before a place. */
function around(text, place) {
  let begin = place > BEFORE ? place - BEFORE : 0;
  if (begin) begin = Math.min(place, begin + Math.max(text.slice(begin, place).search(/\s/), 0) + 1);
  let end = Math.min(text.length, begin + LONG);
  if (end < text.length) {
    const space = text.slice(begin, end).search(/\s\S*$/);
    end = space > LONG / 2 ? begin + space : end;
    // A pair of surrogates is one letter.
    if (/[\ud800-\udbff]/.test(text[end - 1])) end -= 1;
  }
  return [begin, end];
}

function parts(text, words, lines, begin, end) {
  const cuts = [begin, end, ...[...words, ...lines].flat()].filter((cut) => cut >= begin && cut <= end);
  const places = [...new Set(cuts)].sort((a, b) => a - b);
  const within = (spans, start) => spans.some(([from, to]) => from <= start && start < to);
  return places.slice(0, -1).map((start, row) => {
    const piece = shown(text.slice(start, places[row + 1]));
    const word = within(words, start) ? make("mark", {}, piece) : piece;
    return within(lines, start) ? make("span", { class: "sentence" }, word) : word;
  });
}
