"""Speed and peak memory of classification by ONNX Runtime on the CPU.

    pip install torch timm numpy onnx onnxruntime onnxscript
    python bench/step_memory.py --form onnx

writes the model and runs this in a process of its own, whose memory is then
that of the runtime without PyTorch. Prints one line of JSON.
"""
import argparse
import json

import numpy
import onnxruntime

from measure import measure


def session(path, threads):
    """The model at `path`, ready to run on `threads` threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    for name in ("batch", "iters", "warmup", "threads"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--turns", action="store_true")
    args = parser.parse_args()
    model = session(args.file, args.threads)
    x = numpy.random.default_rng(0).standard_normal((args.batch, 3, 224, 224), dtype=numpy.float32)
    found = measure(lambda: model.run(None, {"images": x}), args.batch, args.warmup, args.iters,
                    turns=args.turns)
    print(json.dumps(dict(impl="onnxruntime", version=onnxruntime.__version__, **found)))


if __name__ == "__main__":
    main()
