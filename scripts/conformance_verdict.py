"""Judges the report of an Autobahn run: python3 conformance_verdict.py INDEX_JSON [NUMBER_OF_CASES]

Prints a table of case groups and every case that is not acceptable. Ends with 1 if there is such a case, or if the
report does not hold the number of cases.
"""

import json
import sys
from collections import Counter, defaultdict

CONFORMS = ("OK", "NON-STRICT", "INFORMATIONAL")
CLOSES = ("OK", "INFORMATIONAL")
GROUPS = {
    1: "framing",
    2: "pings and pongs",
    3: "reserved bits",
    4: "opcodes",
    5: "fragmentation",
    6: "UTF-8",
    7: "closing",
    9: "limits and performance",
    10: "automatic fragmentation",
    12: "compression",
    13: "compression parameters",
}


def group_of(case_id):
    return int(case_id.split(".")[0])


def is_acceptable(case):
    return case["behavior"] in CONFORMS and case["behaviorClose"] in CLOSES


def print_table(cases):
    rows = defaultdict(Counter)
    for case_id, case in cases.items():
        rows[group_of(case_id)][case["behavior"] if is_acceptable(case) else "BAD"] += 1
    columns = (*CONFORMS, "BAD")
    print(f"{'group':<28}" + "".join(f"{column:>15}" for column in columns))
    for group, row in sorted(rows.items()):
        name = f"{group} {GROUPS.get(group, '')}"
        print(f"{name:<28}" + "".join(f"{row[column] or '-':>15}" for column in columns))


def main(index_path, expected=None):
    with open(index_path, encoding="utf-8") as file:
        agents = json.load(file)
    # The agent is the answer's Server header: a server that changes it during the run has several.
    cases = {case_id: case for agent in agents.values() for case_id, case in agent.items()}
    print_table(cases)
    bad = [case_id for case_id in cases if not is_acceptable(cases[case_id])]
    for case_id in sorted(bad, key=lambda case_id: [int(part) for part in case_id.split(".")]):
        case = cases[case_id]
        print(f"bad: {case_id:<8} message {case['behavior']}, close {case['behaviorClose']}: {case['reportfile']}")
    print(f"{len(cases)} Autobahn cases, {len(bad)} bad")
    if expected is not None and len(cases) != int(expected):
        print(f"{expected} cases were to run")
        return 1
    return 1 if bad or not cases else 0


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
