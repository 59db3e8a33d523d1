"""The goals of the figures. Each is a sign and a bound of the median."""

# Of the ratio to the web server's own proxy; rate and p99 at 64 callers.
RATIOS = {
    "lighttpd": {"rate": (">=", 1.3), "p99": ("<=", 1.0), "down": (">=", 0.55), "up": (">=", 0.35)},
    "apache": {"rate": (">=", 0.7), "p99": ("<=", 1.4), "down": (">=", 0.9), "up": (">=", 0.5)},
}

# Of the figure itself, by the name of its row.
FIGURES = {
    "MiB/s down, 50 ms": (">=", 100), "MiB/s up, 50 ms": (">=", 100),
    "MiB/s down, 100 ms": (">=", 60), "MiB/s up, 100 ms": (">=", 60),
    "WebSocket push MiB/s, 50 ms": (">=", 50),
    "beside 8 downloads, 10 Mbit/s, 40 ms: p50 s": ("<=", 0.3),
    "beside 100 readers, 50 ms: p50 ms": ("<=", 70),
    "peak MiB, 100 readers, 50 ms: broker": ("<=", 96), "peak MiB, 100 readers, 50 ms: client": ("<=", 96),
}
BESIDE_TWO = {"beside two downloads: p50 ms": ("<=", 2.7), "beside two downloads: p99 ms": ("<=", 20)}
TUNNELS = ("<=", 1.8)  # CPU for a request at 300 tunnels, of that at one
WORSE = 0.05  # than the version before: more is marked


def figures(server):
    """Small requests beside two downloads have their goal behind lighttpd only."""
    return FIGURES | (BESIDE_TWO if server == "lighttpd" else {})


def verdict(goal, value):
    sign, bound = goal
    met = value >= bound if sign == ">=" else value <= bound
    return f"goal {sign} {bound}: {'met' if met else '**missed**'}"


def more_is_better(measure):
    return measure.startswith(("requests/s", "MB/s", "MiB/s", "WebSocket push"))


def is_worse(measure, ratio):
    """Of this version's figure to the one before it."""
    return ratio < 1 - WORSE if more_is_better(measure) else ratio > 1 + WORSE
