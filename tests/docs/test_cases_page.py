from pathlib import Path

from sensors.cases.case import ORDER
from sensors.people import Action, Role, may

PAGE = (Path(__file__).parents[2] / "docs" / "cases.md").read_text("utf-8")


def test_the_page_says_who_may_do_what_as_the_code_does():
    rows = [line.strip("|").split("|") for line in PAGE.splitlines() if line.count("|") == len(Role) + 2]
    told = {row[0].strip(" `"): [cell.strip() == "●" for cell in row[1:]] for row in rows}
    assert {action.value: [may(role, action) for role in Role] for action in Action}.items() <= told.items()


def test_the_page_names_every_step_in_its_order():
    places = [PAGE.index(step.value) for step in ORDER]
    assert places == sorted(places)
