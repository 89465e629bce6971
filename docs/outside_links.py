"""Links of the guide to files outside docs/, as `../configs/quickstart.yaml`.

On GitHub they work as they are. The site gets a copy of each such file, below files/, and links to
that: it needs no repository's address, and is whole on a disk as well.
"""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
OUTSIDE = re.compile(r"\]\(((?:\.\./)+)([^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files that pages link to."""
    for page in list(files.documentation_pages()):
        for up, name in OUTSIDE.findall(page.content_string):
            if leaves_docs(page.src_uri, up) and (ROOT / name).is_file():
                copy = copy_of(name)
                if files.get_file_from_path(copy) is None:
                    content = (ROOT / name).read_bytes()
                    files.append(File.generated(config, copy, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Have links lead to the copies."""

    def to_copy(link: re.Match) -> str:
        up, name = link.groups()
        if not leaves_docs(page.file.src_uri, up):
            return link[0]
        return f"]({up.removeprefix('../')}{copy_of(name)}"

    return OUTSIDE.sub(to_copy, markdown)


def leaves_docs(page: str, up: str) -> bool:
    return up.count("../") == page.count("/") + 1


def copy_of(name: str) -> str:
    # Markdown would be taken for pages of the guide.
    return f"files/{name}.txt" if name.endswith(".md") else f"files/{name}"
