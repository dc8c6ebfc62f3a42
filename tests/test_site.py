"""The site: it is complete, and Chromium without a window looks at each page.

Not with `mkdocs build --quiet`: of messages that are not shown, `--strict`
counts none.
"""

import collections
import inspect
import os
import pathlib
import subprocess
import sys
import urllib.parse

import browser
import pytest
from web import serve

import keras_remul as kr

pytestmark = pytest.mark.backend_independent

ROOT = pathlib.Path(__file__).parents[1]
PHONE = 400  # pixels
# The least contrast of text that WCAG 2 asks for, of large text (level AA).
CONTRAST = 3.0

# What a page holds. Contrasts as WCAG 2 defines them, of each kind of text.
LOOK = """
(() => {
  const dark = (c) => {
    const [r, g, b] = c.map((v) => v / 255).map(
      (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const pixel = document.createElement("canvas")
    .getContext("2d", {willReadFrequently: true});
  document.head.append(Object.assign(document.createElement("style"),
    {textContent: "* {transition: none !important}"}));
  const onto = (colors) => {
    pixel.clearRect(0, 0, 1, 1);
    for (const color of colors) {
      pixel.fillStyle = color;
      pixel.fillRect(0, 0, 1, 1);
    }
    return [...pixel.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const contrast = (node) => {
    const behind = [];
    for (let n = node; n; n = n.parentElement)
      behind.unshift(getComputedStyle(n).backgroundColor);
    const both = [onto(["white", ...behind]),
                  onto(["white", ...behind, getComputedStyle(node).color])];
    const [low, high] = both.map(dark).sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  const contrasts = (scheme) => {
    document.body.setAttribute("data-md-color-scheme", scheme);
    const found = {};
    for (const kind of ["h1", "h2", "p", "li", "td", "th", "code", "a",
                        "pre span"]) {
      const all = [...document.querySelectorAll("article " + kind)]
        .filter((n) => n.innerText && n.className !== "headerlink");
      for (const node of all.slice(0, 20))
        found[kind] = Math.min(found[kind] ?? 99, contrast(node));
    }
    return found;
  };
  const before = document.body.getAttribute("data-md-color-scheme");
  const result = {
    width: document.documentElement.scrollWidth,
    links: [...document.querySelectorAll("a[href]")].map((n) => n.href),
    ids: [...document.querySelectorAll("[id]")].map((n) => n.id),
    blank: [...document.images].filter((n) => !n.naturalWidth)
      .map((n) => n.src),
    light: contrasts("default"),
    dark: contrasts("slate"),
  };
  document.body.setAttribute("data-md-color-scheme", before);
  return result;
})()
"""
TOGGLE = """
new Promise((done) => {
  const shown = () => document.body.getAttribute("data-md-color-scheme");
  const before = shown();
  [...document.querySelectorAll("label[for^=__palette]")]
    .find((n) => !n.hidden).click();
  setTimeout(() => done([before, shown()]), 200);
})
"""
SEARCH = """
new Promise((done) => {
  const input = document.querySelector(".md-search__input");
  input.focus();
  input.value = "tolerance";
  input.dispatchEvent(new Event("input", {bubbles: true}));
  input.dispatchEvent(new KeyboardEvent("keyup", {bubbles: true}));
  const find = (left) => {
    const found = [...document.querySelectorAll(".md-search-result__link")];
    if (found.length || !left) done(found.map((n) => n.href));
    else setTimeout(find, 100, left - 1);
  };
  find(600);
})
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict"]
        + ["--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with serve(folder) as server:
        server.folder = folder
        server.pages = sorted(
            f"{page.parent.relative_to(folder).as_posix()}/".removeprefix("./")
            for page in folder.rglob("index.html")
        )
        yield server


@pytest.fixture(scope="module")
def tab(tmp_path_factory):
    if browser.program() is None:
        message = f"none of {', '.join(browser.NAMES)} is installed"
        if os.environ.get("CI"):
            pytest.fail(f"{message}: .ci/run needs one")
        pytest.skip(message)
    with browser.chromium(tmp_path_factory.mktemp("chromium")) as tab:
        tab.size(PHONE)
        yield tab


@pytest.fixture(scope="module")
def seen(site, tab):
    """`{address: what is there}` of all pages, as on a phone."""
    found = {}
    for page in site.pages:
        tab.open(f"{site.url}/{page}")
        found[f"{site.url}/{page}"] = {
            **tab.run(LOOK),
            "said": tab.complaints(),
            "loaded": tab.answers(),
        }
    assert len(found) > 35
    return found


def faults(seen, what):
    """`{address: what(page)}` of the pages where there is any."""
    found = {address: what(page) for address, page in seen.items()}
    return {address: fault for address, fault in found.items() if fault}


def test_the_reference_names_all_that_is_public(site):
    pages = (site.folder / "api").rglob("*.html")
    reference = "".join(page.read_text() for page in pages)
    named = {
        name
        for module in (kr, *(getattr(kr, name) for name in kr.__all__))
        if inspect.ismodule(module)
        for name in getattr(module, "__all__", ())
        if not inspect.ismodule(getattr(module, name)) and name[0] != "_"
    }
    assert len(named) > 80
    missing = [name for name in named if f'.{name}"' not in reference]
    assert missing == []


# With an icon, for which the browser would ask later, during the next page.
BROKEN = """
<link rel="icon" href="data:,">
<body data-md-color-scheme="default"><article>
<p style="width: 500px">wide</p> <p style="color: #ddd">pale</p>
<a href="nowhere/">x</a> <img src="nothing.png">
<script>console.error("oh")</script></article>
"""


def test_a_broken_page_is_caught(tab, tmp_path):
    (tmp_path / "index.html").write_text(BROKEN)
    with serve(tmp_path) as server:
        tab.open(server.url)
        page = tab.run(LOOK)
        assert page["width"] > PHONE
        assert page["links"] == [f"{server.url}/nowhere/"]
        assert page["blank"] == [f"{server.url}/nothing.png"]
        assert tab.answers()[page["blank"][0]] == 404
        assert page["light"]["p"] < CONTRAST
        assert any("oh" in str(said) for said in tab.complaints())


def test_scripts_and_pictures(seen, site):
    assert not faults(seen, lambda page: page["said"])
    assert not faults(seen, lambda page: page["blank"])
    assert not faults(
        seen,
        lambda page: {
            url: status
            for url, status in page["loaded"].items()
            if status >= 400 or not url.startswith((site.url, "data:"))
        },
    )


def test_nothing_is_wider_than_a_phone(seen):
    assert not faults(seen, lambda page: page["width"] > PHONE)


def test_links_and_anchors(seen, site):
    wanted = collections.defaultdict(set)
    for address, page in seen.items():
        for link in page["links"]:
            target, anchor = urllib.parse.urldefrag(link)
            if target.startswith(site.url):
                wanted[target, urllib.parse.unquote(anchor)].add(address)
    assert len(wanted) > 300
    for (target, anchor), pages in wanted.items():
        assert target in seen, (target, pages)
        assert not anchor or anchor in seen[target]["ids"], (anchor, pages)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(seen, scheme):
    for address, page in seen.items():
        assert page[scheme], address
        for kind, contrast in page[scheme].items():
            assert contrast >= CONTRAST, (address, kind, contrast)


def test_dark_mode_and_search(site, tab):
    tab.open(site.url)
    assert {*tab.run(TOGGLE)} == {"default", "slate"}
    found = tab.run(SEARCH)
    assert any(link.startswith(f"{site.url}/weighting/") for link in found)
    assert not tab.complaints()
