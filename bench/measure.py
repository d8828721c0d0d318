"""Times a step and tells the peak memory of this process (Linux)."""
import os
import re
import statistics
import time
from pathlib import Path


def peak_rss_mib():
    """Of this program alone: what `resource` tells counts the process that started it, too."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def measure(step, batch, warmup, iters):
    """images/s (median of `iters` after `warmup`), seconds and peak memory, that before the first step too (what
    the libraries and the model take), to print as JSON."""
    rates, load, start_rss = [], os.getloadavg()[0], peak_rss_mib()
    for number in range(warmup + iters):
        start = time.perf_counter()
        step()
        if number >= warmup:
            rates.append(batch / (time.perf_counter() - start))
    median = statistics.median(rates)
    return dict(img_s_median=round(median, 3), img_s_min=round(min(rates), 3), img_s_max=round(max(rates), 3),
                step_s=round(batch / median, 3), start_rss_mib=round(start_rss), peak_rss_mib=round(peak_rss_mib()),
                load_before=round(load, 2))
