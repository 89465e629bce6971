"""Take the screenshots in docs/pictures/ from a running demo page.

    python app.py --model runs/quickstart &
    python scripts/screenshots.py http://127.0.0.1:7860

It needs playwright and chromium.
"""

import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"
# File name -> options of the browser page.
BROWSERS: dict[str, dict[str, Any]] = {
    "demo.png": {"viewport": {"width": 1280, "height": 720}},
    "demo_phone.png": {
        "viewport": {"width": 390, "height": 844},
        "color_scheme": "dark",
        "has_touch": True,
    },
}
MILLISECONDS = 120_000


def main(url: str) -> None:
    PICTURES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), chromium_sandbox=False
        )
        for name, seen_by in BROWSERS.items():
            page = browser.new_page(**seen_by)
            page.set_default_timeout(MILLISECONDS)
            page.goto(url)
            page.get_by_role("button", name="Answer", exact=True).wait_for()
            page.get_by_text("Nearest stored sentences").wait_for()
            page.screenshot(path=PICTURES / name, full_page=True)
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
