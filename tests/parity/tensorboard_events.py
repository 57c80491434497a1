"""Event files against TensorBoard's own reader: names, steps and values, also after a kill and resume."""
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

program = pathlib.Path(os.environ["RETORT_BIN"]) / "events_tool"
try:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
except ModuleNotFoundError as error:
    if error.name not in ["tensorboard"]:
        raise
    print(f"skipped: {error}")
    sys.exit(77)


def float32(value):
    return struct.unpack("f", struct.pack("f", value))[0]


with tempfile.TemporaryDirectory() as folder:
    subprocess.run([str(program), folder], check=True)
    events = pathlib.Path(folder) / "events"

    # Framing: the reader checks both checksums only in TensorFlow builds, so they are checked here with its own function.
    for path in events.iterdir():
        data, place = path.read_bytes(), 0
        while place < len(data):
            length, header_crc = struct.unpack_from("<QI", data, place)
            body = data[place + 12:place + 12 + length]
            body_crc, = struct.unpack_from("<I", data, place + 12 + length)
            assert header_crc == masked_crc32c(data[place:place + 8]) and body_crc == masked_crc32c(body), (path, place)
            Event.FromString(body)
            place += 16 + length

    accumulator = EventAccumulator(str(events), size_guidance={"scalars": 0})
    accumulator.Reload()
    assert sorted(accumulator.Tags()["scalars"]) == sorted(["train/cross_entropy", "训练/速度", "train/tiny"])
    expected = {step: (100 if step >= 4 else 0) + 1 / (step + 3) for step in range(9)}
    for tag, factor in [("train/cross_entropy", 1), ("训练/速度", -1e30)]:
        read = {e.step: e.value for e in accumulator.Scalars(tag)}
        assert read == {step: float32(factor * value) for step, value in expected.items()}, (tag, read)
        assert len(accumulator.Scalars(tag)) == 9, "repeated steps were not dropped"
    assert [e.value for e in accumulator.Scalars("train/tiny")] == [0.0] * 9

    lines = [json.loads(line) for line in (pathlib.Path(folder) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in lines] == list(range(9))
    assert all(line["train/cross_entropy"] == expected[line["step"]] and line["train/tiny"] == 1e-300 for line in lines)
print("9 steps, 3 scalars, one resume: equal")
