"""Opens report.html in headless Chromium: nothing on its console, every figure has content, no text is cut off.

    cargo run --release --example pacs_eval
    python tests/report/check.py runs/pacs_eval/report.html [--screenshot page.png]

Needs `chromium` (Debian's package), or another browser by --browser.
"""
import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

# In the page: what is in each figure, and which texts are outside of their drawing or each other's way.
LOOK = """<script>addEventListener('load', () => {
  const figures = [...document.querySelectorAll('figure')].map(figure => {
    const svg = figure.querySelector('svg');
    const all = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')];
    const outside = texts.filter(text => {
      const box = text.getBoundingClientRect();
      return box.left < all.left - 1 || box.right > all.right + 1 || box.top < all.top - 1 || box.bottom > all.bottom + 1;
    });
    const boxes = texts.map(text => text.getBoundingClientRect());
    const covered = texts.filter((text, i) => boxes.some((box, j) => j > i &&
      Math.min(box.right, boxes[i].right) - Math.max(box.left, boxes[i].left) > 2 &&
      Math.min(box.bottom, boxes[i].bottom) - Math.max(box.top, boxes[i].top) > 4));
    return {id: figure.id, shapes: svg.querySelectorAll('rect,circle,polyline,image,path').length,
      texts: texts.length, caption: figure.querySelector('figcaption').textContent.length,
      outside: outside.map(text => text.textContent), covered: covered.map(text => text.textContent)};
  });
  const result = document.createElement('script');
  result.type = 'application/json';
  result.id = 'looked';
  result.textContent = JSON.stringify({figures, wide: document.documentElement.scrollWidth > innerWidth + 1});
  document.body.append(result);
});</script>"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path)
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--screenshot", type=Path)
    args = parser.parse_args()
    page = args.page.read_text()
    outside = [url for url in re.findall(r'(?:src|href)="([^"]*)"', page) if not url.startswith(("data:", "#"))]
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1100,900"]
    options += ["--enable-logging=stderr", "--log-level=0", "--virtual-time-budget=5000"]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "page.html"
        copy.write_text(page.replace("</body>", LOOK + "</body>"))
        command = [args.browser, *options, "--dump-dom", copy.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    found = re.search(r'id="looked">(.*?)</script>', done.stdout, re.S)
    if not found:
        sys.exit(f"the page did not load: {done.stderr[-2000:]}")
    looked = json.loads(found.group(1))
    wrong = [f"console: {line}" for line in done.stderr.splitlines() if "CONSOLE" in line]
    wrong += [f"loaded from elsewhere: {url}" for url in outside]
    wrong += ["wider than the window"] if looked["wide"] else []
    for figure in looked["figures"]:
        name = figure["id"]
        wrong += [f"{name}: empty"] if figure["shapes"] < 5 or not figure["texts"] or not figure["caption"] else []
        wrong += [f"{name}: cut off: {text}" for text in figure["outside"]]
        wrong += [f"{name}: written over: {text}" for text in figure["covered"]]
        print(f"{name}: {figure['shapes']} shapes, {figure['texts']} texts")
    wrong += ["no figures"] if not looked["figures"] else []
    if args.screenshot:
        height = "--window-size=1100,9000"
        subprocess.run([args.browser, *options[:4], height, f"--screenshot={args.screenshot}", args.page.resolve().as_uri()],
                       capture_output=True, check=True)
    if wrong:
        sys.exit("\n".join(wrong))
    print(f"{len(looked['figures'])} figures, nothing on the console")


main()
