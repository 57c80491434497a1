"""OpenVINO GenAI on an exported folder: arguments FOLDER THREADS. Prints one JSON object with tokens per second."""
import json, sys, time

import numpy
import openvino
import openvino_genai as genai

folder, threads = sys.argv[1], int(sys.argv[2])
pipeline = genai.LLMPipeline(folder, "CPU", INFERENCE_NUM_THREADS=threads, scheduler_config=genai.SchedulerConfig())


def answer(sequences, length, count):
    """(seconds to the first token of all, seconds from there to the last)"""
    ids = numpy.array([[1000 + 7 * i + s for i in range(length)] for s in range(sequences)], dtype=numpy.int64)
    options = genai.GenerationConfig()
    options.max_new_tokens, options.ignore_eos, options.do_sample = count, True, False
    begin = time.perf_counter()
    pipeline.generate(genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids))), options)
    return time.perf_counter() - begin


def tokens_per_second(sequences, length, count):
    first = min(answer(sequences, length, 1) for _ in range(2))
    return sequences * count / (answer(sequences, length, count + 1) - first)


# Every prompt differs from the one before by nothing, so that a prefix cache would show: it is off by default.
answer(1, 512, 1)
print(json.dumps({"prefill": 512 / min(answer(1, 512, 1) for _ in range(3)), "decode": tokens_per_second(1, 512, 64),
                  "decode_16": tokens_per_second(16, 64, 64)}))
