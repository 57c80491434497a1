"""llama.cpp on a GGUF file: arguments FILE THREADS. Prints one JSON object with tokens per second."""
import ctypes, json, sys, time

import llama_cpp as llama

path, threads = sys.argv[1], int(sys.argv[2])
llama.llama_backend_init()
silent = llama.llama_log_callback(lambda *_: None)
llama.llama_log_set(silent, ctypes.c_void_p(0))
model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())


def new_context(sequences, length):
    """Each sequence has a cache of its own, which is faster for many than a shared one."""
    options = llama.llama_context_default_params()
    options.n_ctx, options.n_batch, options.n_ubatch, options.n_seq_max = sequences * length, 2048, 512, sequences
    options.n_threads = options.n_threads_batch = threads
    return llama.llama_init_from_model(model, options)


def decode(context, entries):
    """entries: (token, position, sequence, wants logits)"""
    batch = llama.llama_batch_init(len(entries), 0, 1)
    batch.n_tokens = len(entries)
    for i, (token, position, sequence, wants) in enumerate(entries):
        batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, position, 1, wants
        batch.seq_id[i][0] = sequence
    assert llama.llama_decode(context, batch) == 0
    llama.llama_get_logits_ith(context, -1)[0]  # waits
    llama.llama_batch_free(batch)


def timed(action):
    begin = time.perf_counter()
    action()
    return time.perf_counter() - begin


def prompt(count, sequence=0):
    return [(1000 + 7 * i + sequence, i, sequence, i + 1 == count) for i in range(count)]


def prefill(context):
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    return 512 / timed(lambda: decode(context, prompt(512)))


def answers(context, sequences, length, count):
    llama.llama_memory_clear(llama.llama_get_memory(context), True)
    for s in range(sequences):
        decode(context, prompt(length, s))
    step = lambda i: decode(context, [(2000 + i, length + i, s, True) for s in range(sequences)])
    step(0)
    return sequences * count / timed(lambda: [step(i) for i in range(1, count + 1)])


one, many = new_context(1, 1024), new_context(16, 256)
prefill(one)
print(json.dumps({"prefill": max(prefill(one) for _ in range(3)), "decode": max(answers(one, 1, 512, 64) for _ in range(2)),
                  "decode_16": answers(many, 16, 64, 32)}))
