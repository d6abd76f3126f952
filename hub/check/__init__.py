"""`crossdock check`: is what this installation says about itself consistent?"""

from __future__ import annotations

import sys

from hub.check.contract import Contract, load
from hub.check.rules import RULES, Problem

__all__ = ["RULES", "Contract", "Problem", "load", "problems", "run"]


def problems(contract: Contract) -> list[Problem]:
    """Everything that is wrong, in the order of the rules."""
    return [problem for rule in RULES for problem in rule(contract)]


def run() -> int:
    """The command: one line per problem on stderr, exit 1 when there is any."""
    contract = load()
    found = problems(contract)
    for problem in found:
        print(f"{problem.where}: {problem.what}  [{problem.rule}]", file=sys.stderr)
    if not found:
        records = sum(1 for definition in contract.definitions.values() if definition.top)
        print(f"check ok: {len(contract.specs)} topics, {records} schemas, {len(contract.examples)} examples, {len(contract.processors)} processors")
    return 1 if found else 0
