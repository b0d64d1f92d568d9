"""Figures of how the alarm system and its people do: shifts and desks, performance (ISA-18.2, EEMUA 191), handover.

`shift` says who is on when, `history` reads what became of alarms, `performance` measures it against `targets`;
`handover` gathers what the next shift has to know, and the writers put it on paper.
"""
