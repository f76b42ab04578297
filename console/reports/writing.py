"""Puts a report into files: whole or not at all."""

from pathlib import Path

from console.reports.content import ReportContent
from ups.errors import NotFoundError, UsageError

PAGE_NAME = "report.html"
"""Of the page that lies in the run's own directory."""


def write(content: ReportContent, *, html: Path | None, png: Path | None) -> list[Path]:
    """Write the page, the picture or both; returns where they are.

    Raises:
        ConfigError: the picture needs Pillow, which is not installed.
        NotFoundError: there is no such folder.
        UsageError: a file cannot be written there.
    """
    wanted = [path.absolute() for path in (html, png) if path is not None]
    for path in wanted:
        if not path.parent.is_dir():
            raise NotFoundError(f"there is no folder {path.parent}", hint="make it, or name another one")
    try:
        if html is not None:
            _write_page(content, html.absolute())
        if png is not None:
            from console.reports import sheet

            sheet.write(content, png.absolute())
    except OSError as error:
        raise UsageError(f"the report cannot be written: {error}", hint="name another file") from None
    return wanted


def _write_page(content: ReportContent, path: Path) -> None:
    from console.reports import page

    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(page.render(content), encoding="utf-8")
    partial.replace(path)
