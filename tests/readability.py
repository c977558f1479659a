"""Expressions of JavaScript about the page that a browser shows: whether people can read it."""

from __future__ import annotations

SEEN = "const seen = [...document.querySelectorAll('main, main *')].filter(e => e.getClientRects().length);"
OVERFLOWING = f"""(() => {{ {SEEN}
  const out = seen.filter(e => e.tagName != "title" && (e.getBoundingClientRect().left < -0.5
    || e.getBoundingClientRect().right > innerWidth + 0.5));
  const page = document.documentElement;
  return [page.scrollWidth - page.clientWidth, ...out.map(e => e.outerHTML.slice(0, 200))];
}})()"""
"""Pixels that the page is too wide, and the elements that stick out of it."""
SIZES = f"""(() => {{ {SEEN}
  const own = e => [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim());
  const scale = e => e.ownerSVGElement ? e.ownerSVGElement.getScreenCTM().a : 1;
  return Math.min(...seen.filter(e => own(e) && e.tagName != "title")
    .map(e => parseFloat(getComputedStyle(e).fontSize) * scale(e)));
}})()"""
"""The size of the smallest letters, in pixels."""
CONTRAST = f"""(() => {{ {SEEN}
  const light = c => {{ const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
    .map(x => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4); return .2126*v[0] + .7152*v[1] + .0722*v[2]; }};
  const own = e => [...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim()) && e.tagName != "title";
  const ground = e => {{ const c = getComputedStyle(e).backgroundColor;
    return /^rgba.*, 0\\)$/.test(c) && e.parentElement ? ground(e.parentElement) : c; }};
  const inside = (t, r) => t.left >= r.left && t.right <= r.right && t.top >= r.top - 1 && t.bottom <= r.bottom + 1;
  const box = e => [...document.querySelectorAll("svg > rect"), ...e.parentElement.querySelectorAll("rect")]
    .filter(r => inside(e.getBoundingClientRect(), r.getBoundingClientRect())).at(-1);
  const pair = e => e.tagName == "text" ? [getComputedStyle(e).fill, getComputedStyle(box(e)).fill]
    : [getComputedStyle(e).color, ground(e)];
  const contrast = e => {{ const [a, b] = pair(e).map(light).sort((x, y) => x - y); return (b + .05) / (a + .05); }};
  return seen.filter(own).map(e => [contrast(e), ...pair(e), e.outerHTML.slice(0, 200)]).filter(row => row[0] < 4.5);
}})()"""
"""Elements whose text has a contrast below 4.5 to the ground."""
