"""The reports of a real run and a real experiment in a real browser: desk and phone, day and night, paper."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from experiments import freeze_ladder
from tests import tiny
from tests.commands import pictures
from tl_jax.runs import run

pytestmark = pytest.mark.slow

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SIZES = {"phone": (390, 844), "desk": (1280, 900)}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync = pytest.importorskip("playwright.sync_api", reason="needs playwright (pip install -e '.[test]')")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip(f"needs a Chromium; none of {', '.join(NAMES)} is installed (apt-get install chromium)")
    with sync.sync_playwright() as playwright:
        # Chromium's sandbox refuses to run for root, as whom containers run.
        options = ["--no-sandbox"] if os.getuid() == 0 else []
        opened = playwright.chromium.launch(executable_path=found, args=options)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """ "run": three classes, one of which has a hostile name; "experiment": a ladder of two cuts."""
    os.environ.setdefault("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    root = tiny.make_folder(tmp_path_factory.mktemp("pictures"))
    hostile = root.parent / "hostile"
    shutil.copytree(root, hostile)
    for split in ("train", "val", "test"):
        (hostile / split / "b").rename(hostile / split / "<script>alert(1)<&script>")
        shutil.copytree(hostile / split / "a", hostile / split / f"c{'c' * 40}")
        for path in (hostile / split / f"c{'c' * 40}").iterdir():
            path.rename(path.with_name(f"p9{path.name[1:]}"))
            _darken(path.with_name(f"p9{path.name[1:]}"))
    workdir = tmp_path_factory.mktemp("runs")
    settings = tiny.config(hostile, report=dict(enabled=True))
    run(settings, workdir / "run", quiet=True)
    stages = [dict(name="all", train="all", duration="2 steps", lr=1e-3)]
    config = tiny.config(root, stages=stages, model=dict(arch=tiny.VIT), report=dict(enabled=True))
    file = pictures.write_config(workdir / "small.py", config)
    ladder = workdir / "ladder"
    assert freeze_ladder.main(["", f"--config={file}", f"--workdir={ladder}", "--seeds=2", "--cuts=0,4"]) == 0
    return {"run": workdir / "run" / "report.html", "experiment": ladder / "report.html"}


def _darken(path: Path) -> None:
    from PIL import Image

    Image.open(path).point(lambda value: value // 2 + 1).save(path)


class Visit:
    """A page in a window; ``heard``: its console and errors; ``asked``: every address it asked for."""

    def __init__(self, browser: Any, file: Path, size: str, scheme: str) -> None:
        width, height = SIZES[size]
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, offline=False
        )
        self.heard: list[str] = []
        self.asked: list[str] = []
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.heard.append(message.text))
        self.page.on("pageerror", lambda error: self.heard.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.heard.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.url = file.as_uri()
        self.page.goto(self.url, wait_until="load")

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def outside(self) -> list[str]:
        return [url for url in self.asked if url != self.url and not url.startswith("data:")]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("which", ["run", "experiment"])
def test_it_opens(browser, reports, which, size, scheme, tmp_path):
    with Visit(browser, reports[which], size, scheme) as visit:
        page = visit.page
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert visit.heard == []
        assert visit.outside() == []
        wide, room = page.evaluate(
            "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
        )
        assert wide <= room, "the page itself scrolls sideways"
        broken = "Array.from(document.images).filter(image => !image.complete || !image.naturalWidth).length"
        assert page.evaluate(broken) == 0
        ink, ground = page.evaluate(
            "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
        )
        assert (_light(ink) > _light(ground)) == (scheme == "dark")
        # What pictures are drawn in differs from what they are drawn on.
        words = page.evaluate("getComputedStyle(document.querySelector('.picture svg text')).fill")
        card = page.evaluate("getComputedStyle(document.querySelector('section')).backgroundColor")
        assert abs(_light(words) - _light(card)) > 80


def test_words_of_pictures_can_be_read_on_a_phone(browser, reports):
    with Visit(browser, reports["run"], "phone", "light") as visit:
        heights = visit.page.evaluate(
            "[...document.querySelectorAll('.picture svg text')].map(text => text.getBoundingClientRect())"
            ".filter(box => box.width > box.height).map(box => box.height)"
        )
        assert len(heights) > 40
        assert min(heights) >= 8


@pytest.mark.parametrize("which", ["run", "experiment"])
def test_tables_sort_by_click_and_by_keyboard(browser, reports, which):
    with Visit(browser, reports[which], "desk", "light") as visit:
        table = visit.page.locator("table:has(button)").first
        index = 1 if which == "run" else 0
        button, head = table.locator("th button").nth(index), table.locator("th[aria-sort]").nth(index)
        assert head.get_attribute("aria-sort") == "none"
        button.click()
        assert head.get_attribute("aria-sort") == "ascending"
        rising = _column(table, index)
        known = [float(value) for value in rising if value]
        assert len(known) > 1
        assert known == sorted(known)
        assert rising[len(known) :] == [""] * (len(rising) - len(known)), "what is unknown goes last"
        button.focus()
        visit.page.keyboard.press("Enter")
        assert head.get_attribute("aria-sort") == "descending"
        falling = _column(table, index)
        assert [float(value) for value in falling if value] == known[::-1]
        assert falling[len(known) :] == rising[len(known) :]
        other = table.locator("th button").nth(index + 1)
        other.focus()
        visit.page.keyboard.press("Space")
        assert head.get_attribute("aria-sort") == "none"
        assert visit.heard == []


def _column(table: Any, index: int) -> list[str]:
    return table.evaluate(
        "(table, i) => [...table.tBodies[0].rows].map(row => row.cells[i].dataset.order)", index
    )


def test_hostile_names_are_words(browser, reports):
    with Visit(browser, reports["run"], "desk", "light") as visit:
        assert visit.page.evaluate("document.scripts.length") == 1
        assert "<script>alert(1)<&script>" in visit.page.inner_text("body")
        assert visit.heard == []


def test_the_page_itself_forbids_requests(browser, reports):
    """What the policy says is what the browser does, should anything ever slip in."""
    with Visit(browser, reports["run"], "desk", "light") as visit:
        loaded = visit.page.evaluate(
            "() => new Promise(done => { const image = new Image(); image.onload = () => done(true); "
            "image.onerror = () => done(false); image.src = 'https://example.org/x.png'; })"
        )
        assert loaded is False
        assert any("Content Security Policy" in line for line in visit.heard)
        ran = visit.page.evaluate(
            "() => { const script = document.createElement('script'); script.textContent = 'window.ran = 1'; "
            "document.head.append(script); return window.ran === 1; }"
        )
        assert ran is False


def test_an_experiment_leads_to_its_runs(browser, reports):
    with Visit(browser, reports["experiment"], "desk", "light") as visit:
        links = visit.page.locator("td a")
        assert links.count() == 4
        links.first.click()
        visit.page.wait_for_load_state()
        assert "report of a run" in visit.page.inner_text("header")
        assert visit.page.url.endswith("seed-0/report.html")


@pytest.mark.parametrize("which", ["run", "experiment"])
def test_it_prints(browser, reports, which):
    with Visit(browser, reports[which], "desk", "dark") as visit:
        paper = visit.page.pdf(format="A4")
        assert paper.startswith(b"%PDF")
        assert len(paper) > 20_000
        visit.page.emulate_media(media="print", color_scheme="dark")
        ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert _light(ground) == 255, "ink on paper, whatever the screen is"
        assert not visit.page.locator("nav").first.is_visible()


def _light(colour: str) -> float:
    red, green, blue = (float(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3])
    return 0.299 * red + 0.587 * green + 0.114 * blue
