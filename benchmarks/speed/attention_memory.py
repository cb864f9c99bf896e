"""Measure what angular attention over one large set needs: time, and peak memory beyond its inputs and output.

    python -m benchmarks.speed.attention_memory IMAGES ANGLES D C cpu|cuda

In a process of its own, as the peak is the process's. The last line of stdout is JSON.
"""

import argparse
import json

import torch

from benchmarks.common.timing import read_memory, read_peak_memory, time_once
from benchmarks.speed.attention import AttentionSize, draw_features
from polardenoise.engine.networks.angular_attention import attend


def measure_attention_memory(size: AttentionSize, device: torch.device) -> dict[str, float]:
    """Attend once, after a small set that has loaded all that is loaded once."""
    features = draw_features(size, device)
    with torch.inference_mode():
        attend(*(one[:, : min(64, size.images // 2)].clone() for one in features))
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
        else:
            before = read_memory()
        seconds = time_once(lambda: attend(*features), device)
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else read_peak_memory()
    return {"seconds": seconds, "peak_bytes": peak - before - features[2].nbytes}


def main() -> None:
    """Measure what the command line names; the result is the last line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed.attention_memory", description=__doc__
    )
    for name in ("images", "angles", "query", "value"):
        parser.add_argument(name, type=int)
    parser.add_argument("device", choices=["cpu", "cuda"])
    words = parser.parse_args()
    size = AttentionSize(words.images, words.angles, words.query, words.value)
    print(json.dumps(measure_attention_memory(size, torch.device(words.device))))


if __name__ == "__main__":
    main()
