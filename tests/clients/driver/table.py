"""The table client × check.

A check is `ok` or `FAIL`; `-N` is not applicable, because of what the note N below the table says of the client; `info`
is a failure of an informative check (checks.INFORMATIVE), which decides nothing.
"""

MARKS = {"pass": "ok", "fail": "FAIL"}


def render(results, checks):
    """One table for each kind of client, and below it why checks do not apply."""
    parts = []
    for kind in (checks.KAFKA, checks.SCHEMA_REGISTRY, checks.HTTP_PROXY, checks.ADMIN):
        clients = [client for client in results if checks.CLIENTS[client] is kind]
        if clients:
            parts.append(one(clients, results, checks))
    return "\n\n".join(parts)


def one(clients, results, checks):
    rows = []
    for client in clients:
        for check in results[client]:
            if check not in rows:
                rows.append(check)
    notes, numbers = [], {}

    def mark(client, check):
        outcome, detail = results[client].get(check, ["", ""])
        if outcome == "n/a":
            if detail not in numbers:
                numbers[detail] = len(numbers) + 1
                notes.append(detail)
            return f"-{numbers[detail]}"
        if outcome == "fail" and check in checks.INFORMATIVE:
            return "info"
        return MARKS.get(outcome, "")
    table = [["check", *clients]] + [[check, *(mark(client, check) for client in clients)] for check in rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table]
    lines.insert(1, "  ".join("-" * width for width in widths))
    lines += [f"-{number}: {note}" for number, note in enumerate(notes, 1)]
    return "\n".join(lines)


def counts(tables, checks):
    """The last line: how many checks of these results passed, failed and do not apply."""
    tables = list(tables)
    passed, failed, not_applicable = (
        sum(count(results, outcome, checks) for results in tables) for outcome in ("pass", "fail", "n/a"))
    informative = sum(1 for results in tables for of_client in results.values() for check, (ended, _) in of_client.items()
                      if ended == "fail" and check in checks.INFORMATIVE)
    more = f" ({informative} informative checks failed besides)" if informative else ""
    return f"{passed} passed, {failed} failed, {not_applicable} not applicable{more}"


def count(results, outcome, checks):
    """How many checks ended so; what is informative is no failure."""
    return sum(1 for of_client in results.values() for check, (ended, _) in of_client.items()
               if ended == outcome and not (ended == "fail" and check in checks.INFORMATIVE))
