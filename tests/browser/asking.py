"""Asking what an event touches as an operator does it: an alarm or a pipe is chosen, a question pressed."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from .conftest import PATIENCE_MS

expect.set_options(timeout=PATIENCE_MS)


def choose(page: Page, device: str) -> None:
    """Choose an alarm of a device in the list."""
    expect(page.locator(".city-map-phase")).to_have_count(0)
    page.locator(".alarm-list .ag-row", has_text=device).first.locator(".alarm-text").click()
    expect(page.locator("#card-title")).to_have_text(device)


def ask(page: Page, kind: str) -> None:
    """Ask a question of what is chosen, and wait until the card lists its answer."""
    page.locator(f'#card-actions button[id*="{kind}"]').click()
    expect(page.locator(f'.answer[data-kind="{kind}"]')).to_be_visible()


def listed(page: Page, role: str) -> list[str]:
    """Return the assets of a list in the card, the folded ones among them, in order."""
    return page.locator(f".rows.{role} li").evaluate_all("rows => rows.map((row) => row.dataset.asset)")


DRAWN = """(role) => {
  const map = document.querySelector('.city-map-canvas').cityMap;
  const layers = map.getStyle().layers.map(({id}) => id).filter((id) => id.startsWith('answer-'));
  const seen = map.queryRenderedFeatures({layers}).filter(({properties}) => properties.role === role);
  return [...new Set(seen.map(({properties}) => properties.asset))].sort();
}"""


def drawn(page: Page, role: str) -> list[str]:
    """Return the assets that the map really shows in a role."""
    return page.evaluate(DRAWN, role)
