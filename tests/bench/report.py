"""Samples become a Markdown table, a JSON file and a picture."""
import json
import statistics
from xml.sax.saxutils import escape

import goals


class Samples:
    """values[measure][route]: one number for each round, None where a round has none; notes say why."""

    def __init__(self):
        self.values, self.notes = {}, {}

    def add(self, route, round_number, results):
        for measure, value in results.items():
            rounds = self.values.setdefault(measure, {}).setdefault(route, [])
            rounds += [None] * (round_number + 1 - len(rounds))
            rounds[round_number] = value

    def fail(self, route, measure, why):
        self.values.setdefault(measure, {}).setdefault(route, [])
        self.notes.setdefault(measure, {})[route] = str(why)

    def of(self, measure, route):
        return [v for v in self.values.get(measure, {}).get(route, []) if v is not None]

    def ratios(self, measure, route, base):
        """Round by round: both sides of each saw the same machine."""
        pairs = zip(self.values.get(measure, {}).get(route, []), self.values.get(measure, {}).get(base, []))
        return [a / b for a, b in pairs if a is not None and b]


def number(x):
    if x == 0:
        return "0"
    return f"{x:.0f}" if abs(x) >= 100 else f"{x:.1f}" if abs(x) >= 10 else f"{x:.2f}" if abs(x) >= 0.1 else f"{x:.3f}"


def spread(values):
    if not values:
        return "-"
    low, high, median = number(min(values)), number(max(values)), number(statistics.median(values))
    return median if low == high else f"{median} ({low}–{high})"


def goal_kind(measure):
    return {"requests/s": "rate", "p99 ms": "p99", "MB/s down": "down", "MB/s up": "up"}.get(measure.split(",")[0])


def ratio_cell(samples, measure, route):
    ratios = samples.ratios(measure, route.name, route.base.name)
    if not ratios:
        return "-"
    cell = spread(ratios)
    # p99 and rate have their goals at 64 callers
    if goal := route.ratios.get(goal_kind(measure)) if "caller" not in measure or " 64 callers" in measure else None:
        cell += ", " + goals.verdict(goal, statistics.median(ratios))
    return cell


def before_cell(samples, measure, route):
    ratios = samples.ratios(measure, route.name, route.before.name)
    if not ratios:
        return "-"
    return spread(ratios) + (", **worse**" if goals.is_worse(measure, statistics.median(ratios)) else "")


def figure_cell(samples, measure, route):
    values, note = samples.of(measure, route.name), samples.notes.get(measure, {}).get(route.name)
    cell = spread(values)
    if values and measure in route.figures:
        cell += ", " + goals.verdict(route.figures[measure], statistics.median(values))
    if note:
        cell = f"{cell} [{note}]" if values else note
    return cell.replace("|", "\\|")


def worth_a_ratio(measure):
    return not measure.startswith(("failed", "peak", "CPU"))


def table(samples, routes):
    """Columns: each route; after it the ratios to the version before and to the web server's own proxy, if it has them."""
    titles = ["measure"]
    for route in routes:
        titles.append(route.name)
        if route.before:
            titles.append(f"{route.name} / before")
        if route.base:
            titles.append(f"{route.name} / own proxy")
    lines = ["| " + " | ".join(titles) + " |", "|---|" + "---:|" * (len(titles) - 1)]
    for measure in samples.values:
        if measure.startswith("failed") and not any(sum(filter(None, v)) for v in samples.values[measure].values()):
            continue
        cells = [measure]
        for route in routes:
            cells.append(figure_cell(samples, measure, route))
            if route.before:
                cells.append(before_cell(samples, measure, route))
            if route.base:
                cells.append(ratio_cell(samples, measure, route) if worth_a_ratio(measure) else "")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_json(path, facts, compared, over_lines, extra):
    """Each of the two is (samples, routes)."""
    def plain(samples, routes):
        return {"routes": [r.name for r in routes], "rounds": samples.values, "notes": samples.notes}

    path.write_text(json.dumps({"facts": facts, **plain(*compared), "lines": plain(*over_lines), **extra}, indent=1) + "\n")


def bars(path, samples, routes, measures):
    """One group of bars for each measure, each on its own scale; a line shows min to max."""
    row, left, width, parts, y = 18, 190, 640, [], 10
    for measure in measures:
        found = [(r.name, samples.of(measure, r.name)) for r in routes if samples.of(measure, r.name)]
        if not found:
            continue
        top = max(max(v) for _, v in found) or 1
        scale = (width - left - 110) / top
        parts.append(f'<text x="4" y="{y + 13}" font-weight="bold">{escape(measure)}</text>')
        y += row + 4
        for name, values in found:
            median, low, high = statistics.median(values), min(values), max(values)
            colour = "#2a6fbb" if name.startswith("PipeGate") else "#a9b4c0"
            parts.append(f'<text x="{left - 6}" y="{y + 11}" text-anchor="end">{escape(name)}</text>'
                         f'<rect x="{left}" y="{y}" width="{median * scale:.1f}" height="{row - 5}" fill="{colour}"/>'
                         f'<line x1="{left + low * scale:.1f}" x2="{left + high * scale:.1f}" y1="{y + 6.5}" '
                         f'y2="{y + 6.5}" stroke="#222"/>'
                         f'<text x="{left + high * scale + 6:.1f}" y="{y + 11}">{number(median)}</text>')
            y += row
        y += 10
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" font-family="sans-serif" '
                    f'font-size="11"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n')


def rows_table(rows):
    columns = list(dict.fromkeys(k for row in rows for k in row))
    lines = ["| " + " | ".join(columns) + " |", "|" + "---:|" * len(columns)]
    for row in rows:
        cells = (row.get(c, "-") for c in columns)
        lines.append("| " + " | ".join(c if isinstance(c, str) else f"{c}" if isinstance(c, int) else number(c)
                                       for c in cells) + " |")
    return "\n".join(lines)


def whole(compared, over_lines, facts, extra):
    """Each of the two is (samples, routes); parts that were not measured are left out."""
    middle, most = facts["share of the machine that others used: median, most"]
    parts = [
        f"PipeGate {facts['commit']}, {facts['cores']} cores, {facts['rounds']} rounds of {facts['seconds']} s, "
        f"{facts['minutes']:.0f} minutes; median (min–max). Large body: {facts['mib']} MiB. "
        f"Load average before: {facts['load average before']:.2f}."]
    if compared[1]:
        parts.append(f"Other work took {middle * 100:.0f} % of the machine (median), {most * 100:.0f} % at most; the slowest "
                     f"moment of a core had {facts['pace of a core, slowest to fastest'] * 100:.0f} % of the pace of the "
                     "fastest.")
        parts.append(table(*compared))
    if over_lines[1]:
        parts.append("Over a line, which is between the client and the web server, or between a peer's two halves:\n\n"
                     + table(*over_lines))
    for name, rows in extra.get("tunnels", {}).items():
        parts.append(f"Tunnels that share the traffic of 64 callers ({name}, lighttpd; us of CPU for each request):\n\n"
                     + rows_table(rows))
    if "idle" in extra:
        parts.append("Idle tunnels, straight at the broker:\n\n" + rows_table(extra["idle"]))
    for name, rows in extra.get("growth", {}).items():
        parts.append(f"Growth, {name} (lighttpd, 64 callers):\n\n" + rows_table(rows))
    for name, why in facts["absent"].items():
        parts.append(f"Absent: {name} ({why}).")
    return "\n\n".join(parts)
