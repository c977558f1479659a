// Requests to the server that the page is from. The key goes into a header, never into an address.

import { make } from "./dom.js";

const KEY = "mnemodex-key";

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)),
};

/** What the server refused: its code, what is wrong, what to do, and the request's id for those who look into logs. */
export class Refused extends Error {
  constructor(status, code, message, remedy, id) {
    super(message);
    Object.assign(this, { status, code, remedy, id });
  }
}

/** Return the answer to `GET path`, or to `POST path` where there is a body. */
export async function ask(path, body, signal) {
  const headers = { accept: "application/json" };
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, {
      method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body), signal,
      cache: "no-store", credentials: "omit", redirect: "error", referrerPolicy: "no-referrer",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "unreachable", "The server does not answer.", "See whether it runs, and ask again.", null);
  }
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  throw refused(response, answer);
}

function refused(response, answer) {
  const { code = "failed", message = `The server answered ${response.status}.`, remedy = "" } = answer?.error ?? {};
  const wait = response.headers.get("retry-after");
  const when = wait ? `Ask again in ${wait} s.` : "";
  return new Refused(response.status, code, message, [remedy, when].filter(Boolean).join(" "), response.headers.get("x-request-id"));
}

/** Return what people see of an error. */
export function problem(error) {
  const sentence = (text) => (text && !/[.!?…]$/.test(text) ? `${text}.` : text);
  const first = error.message || String(error);
  return make("div", { class: "error" },
    make("strong", { dir: "auto" }, sentence(first[0].toUpperCase() + first.slice(1))),
    error.remedy ? make("p", { dir: "auto" }, sentence(error.remedy)) : null,
    error.id ? make("p", { class: "quiet" }, `Request ${error.id}`) : null);
}
