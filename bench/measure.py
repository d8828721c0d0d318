"""Times a step, when told to, and tells the peak memory of this process (Linux)."""
import os
import re
import statistics
import sys
import time
from pathlib import Path


def peak_rss_mib():
    """Of this program alone: what `resource` tells counts the process that started it, too."""
    return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def measure(step, batch, warmup, iters, device="cpu", turns=False):
    """images/s (median of `iters` after `warmup`), seconds of each and peak memory, that before the first step too (what
    the libraries and the model take), to print as JSON. On a GPU, its memory too. With `turns`, each of the timed
    steps is announced by a line "turn" and waits for a line of the input."""
    wait, more = (lambda: None), {}
    if device != "cpu":
        import torch
        wait = torch.cuda.synchronize
    seconds, load, start_rss = [], os.getloadavg()[0], peak_rss_mib()
    for number in range(warmup + iters):
        if turns and number >= warmup:
            print("turn", flush=True)
            sys.stdin.readline()
        wait()
        start = time.perf_counter()
        step()
        wait()
        if number >= warmup:
            seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    if device != "cpu":
        more = dict(peak_gpu_mib=round(torch.cuda.max_memory_reserved() / 2**20), gpu=torch.cuda.get_device_name())
    return dict(img_s_median=round(batch / median, 3), seconds=seconds, step_s=round(median, 3),
                start_rss_mib=round(start_rss), peak_rss_mib=round(peak_rss_mib()),
                load_before=round(load, 2), **more)
